// From a reference to a stack of block layers: what dadi and dadid share.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/image/image_reach.h"
#include "apps/image/lazy_blobs.h"
#include "libconvert/oci/image.h"
#include "libconvert/oci/image_store.h"
#include "libconvert/oci/reference.h"
#include "libformat/layer_file.h"
#include "libformat/lsmt/stack_reader.h"

namespace dadi {

// Told what is worth knowing and no failure, for people.
using Notes = std::function<void(std::string_view)>;

// An image in a store: ordinary or converted.
struct StoredImage {
  std::unique_ptr<oci::ImageSource> source;
  oci::SelectedImage image;
};

// The image for `platform` ("": this machine's). REQUIRES: `reference` is not kLayers or kConfig.
// Errors: those of open_source() and select().
Result<StoredImage> open_stored_image(const oci::Reference& reference, const std::string& platform, const Notes& notes,
                                      const registry::Access& access);

// The same, of block layers: that image, or what its registry lists as its converted form, which is noted. Errors: and
// unsupported (an ordinary image without one), corruption (what is listed is none).
Result<StoredImage> open_converted_image(const oci::Reference& reference, const std::string& platform,
                                         const Notes& notes, const registry::Access& access);

// What is said of an image that is no block image.
Error not_converted();

// One layer of a device, not looked into yet.
struct FoundLayer {
  std::string name;                           // for people: "layer 2 (sha256:ab12cd34ef56)", or its file
  SharedBlob blob;                            // as it is stored
  std::optional<lsmt::LayerReader> writable;  // the upper layer of a config file, which is opened in its own way
  std::optional<oci::Descriptor> descriptor;  // in an image
  std::optional<BlobIdentity> expected;       // what a manifest or config file says of the stored blob
};

struct FoundImage {
  std::string reference;              // in full
  std::optional<StoredImage> stored;  // none for layers: and config:
  std::vector<FoundLayer> layers;     // bottom first, at least one
  std::shared_ptr<LazyBlobs> lazy;    // of an image on a registry
};

// Finds every layer, those on top included; one that carries a trace is left out. Layers on a registry are on their
// way. Errors: unsupported (an ordinary image), not_found, those of the store.
Result<FoundImage> find_block_image(const oci::Reference& reference, const std::string& platform, const Notes& notes,
                                    const ImageReach& reach);

// A writable layer as its files hold it, those beside the two included that only we know, which nobody may write
// meanwhile. Nothing is mended.
// Errors: those of opening the files; corruption.
Result<lsmt::LayerReader> read_writable_layer(const std::filesystem::path& data, const std::filesystem::path& index);

// One layer of a device, opened.
struct BlockLayer {
  std::string name;  // this and the rest as in FoundLayer
  SharedBlob blob;
  lsmt::LayerReader reader;
  std::optional<tar_envelope::Payload> envelope;
  SharedBlob unwrapped;              // the layer's own bytes; null for a writable layer
  std::optional<zfile::Info> zfile;  // how it is compressed, if it is
  std::optional<oci::Descriptor> descriptor;
  std::optional<BlobIdentity> expected;
};

struct BlockImage {
  std::string reference;
  std::optional<StoredImage> stored;
  std::vector<BlockLayer> layers;
  std::shared_ptr<LazyBlobs> lazy;
};

// Opens every layer: envelope, compression and index are checked, content is not.
// Errors: unsupported (TurboOCI), corruption (a layer, named), those of the blobs.
Result<BlockImage> open_block_image(FoundImage found, const ReadContext& context);

// The layers as one device. Errors: those of StackReader::open.
Result<std::shared_ptr<const lsmt::StackReader>> stack(std::vector<BlockLayer> layers);

}  // namespace dadi
