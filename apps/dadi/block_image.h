// What the commands that look into an image share: from a reference to a stack of block layers.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/dadi/command_line.h"
#include "apps/dadi/session.h"
#include "libconvert/oci/image.h"
#include "libconvert/oci/image_store.h"
#include "libconvert/oci/reference.h"
#include "libformat/layer_file.h"
#include "libformat/lsmt/stack_reader.h"

namespace dadi {

// Which image is meant.
struct ImageOptions {
  std::string reference;
  std::string platform;  // empty: this machine's
};

// REF and --platform.
void add_image_options(Command& command, ImageOptions& options);

// An image in a store: ordinary or converted.
struct StoredImage {
  std::unique_ptr<oci::ImageSource> source;
  oci::SelectedImage image;
};

// REQUIRES: `reference` is not kLayers or kConfig. Notes go to the session.
// Errors: those of open_source() and select().
Result<StoredImage> open_stored_image(Session& session, const oci::Reference& reference, const std::string& platform);

// One layer of a device.
struct BlockLayer {
  std::string name;  // for people: "layer 2 (sha256:ab12cd34ef56)", or its file
  SharedBlob blob;   // as it is stored
  lsmt::LayerReader reader;
  std::optional<tar_envelope::Payload> envelope;
  SharedBlob unwrapped;                       // the layer's own bytes; null for a writable layer
  std::optional<zfile::Info> zfile;           // how it is compressed, if it is
  std::optional<oci::Descriptor> descriptor;  // in an image
  std::optional<BlobIdentity> expected;       // what a manifest or config file says of the stored blob
};

struct BlockImage {
  std::string reference;              // in full
  std::optional<StoredImage> stored;  // none for layers: and config:
  std::vector<BlockLayer> layers;     // bottom first, at least one
};

// Parses the reference, saying on stderr what a bare path was taken for.
Result<oci::Reference> parse_image_reference(Session& session, const std::string& text);

// Opens every layer: envelope, compression and index are checked, content is not. A layer that carries a trace is left
// out.
// Errors: unsupported (an ordinary image, TurboOCI, layers that are only on a registry), corruption (a layer, named),
// not_found, those of the store.
Result<BlockImage> open_block_image(Session& session, const ImageOptions& options);

// The layers as one device. Errors: those of StackReader::open.
Result<std::shared_ptr<const lsmt::StackReader>> stack(std::vector<BlockLayer> layers);

// Both steps, for commands that need nothing but the device.
Result<std::shared_ptr<const lsmt::StackReader>> open_device(Session& session, const ImageOptions& options);

}  // namespace dadi
