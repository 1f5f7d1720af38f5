// Where an image comes from and where it goes: the seams between a conversion and the stores.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "libconvert/oci/descriptor.h"
#include "libconvert/oci/reference.h"
#include "libformat/blob/blob_reader.h"
#include "libformat/blob/byte_stream.h"

namespace dadi::oci {

// An image in a store. Thread-safe: any number of threads may open blobs at once.
class ImageSource {
 public:
  virtual ~ImageSource() = default;

  // What the reference selected: a manifest or an index. Its content is not verified yet.
  virtual const Descriptor& root() const = 0;

  // The blob for reading at random. Its size is that of the descriptor; its content is not verified.
  // Errors: not_found, corruption (another size), io.
  virtual Result<SharedBlob> open_blob(const Descriptor& descriptor) const = 0;

  // The blob in order; digest and size are verified by its end (see VerifiedSource). Errors: as open_blob().
  virtual Result<std::unique_ptr<ByteSource>> stream_blob(const Descriptor& descriptor,
                                                          const ReadContext& context = {}) const;

  // Manifests of that artifact type that say that they refer to that one, not verified; none where stores know nothing
  // of it. As prefetch, a mirror that has the image is asked, and not its registry. Errors: those of asking.
  virtual Result<std::vector<Descriptor>> referrers(const Digest& subject, std::string_view artifact_type,
                                                    const ReadContext& context = {}) const;
};

// A blob as a whole, verified. Errors: as open_blob(); unsupported (larger than `limit`).
Result<std::vector<std::byte>> read_document(const ImageSource& source, const Descriptor& descriptor, Bytes limit,
                                             const ReadContext& context = {});

// A store that an image is being written to. Nothing is seen under a final name before commit(); a destination that is
// destroyed without it leaves nothing behind, and what a killed process left is removed by the next one that writes
// there. Blobs may be created, written and finished by several threads at once; commit() comes after all of them.
// Sinks must not outlive the destination.
class ImageDestination {
 public:
  virtual ~ImageDestination() = default;

  // Errors: those of creating a file.
  virtual Result<std::unique_ptr<BlobSink>> create_blob(Bytes head_size) = 0;

  // Whether the blob is there already, from an earlier image or from this one: then it need not be created.
  virtual Result<bool> has_blob(const Digest& digest, Bytes size) = 0;

  // Told of every blob that is created from now on and finished, within its finish(), while the file still is what and
  // where it is then: who wants to keep the content links or copies it. Several threads at once. None: no longer.
  // Returns who was told before.
  using Finished = std::function<void(const std::filesystem::path& file, const BlobIdentity& blob)>;
  virtual Finished on_finished(Finished told) = 0;

  // Publishes the blobs and then the image under the reference's tag ("latest" when it has none), replacing an image of
  // that tag; all or nothing. Other tags stay, those that other processes add meanwhile too. Call at most once.
  // REQUIRES: all that `root` refers to was created or is there.
  virtual Result<void> commit(const Descriptor& root) = 0;
};

// Writes a manifest, index or config; its descriptor has no annotations and no platform.
Result<Descriptor> put_document(ImageDestination& destination, std::string_view json, std::string_view media_type);

// Opens the store and finds the image in it.
// Errors: not_found (no store, or no such tag: the hint lists the tags), invalid_argument (several images and no tag),
// corruption (not what it should be), unsupported (a compressed archive; a kind of reference that is no image store).
Result<std::unique_ptr<ImageSource>> open_source(const Reference& reference);

// Prepares a layout folder (made, with the folders above it, when missing) or an archive (an existing file is replaced
// at commit). Errors: invalid_argument (a folder that holds other things), unsupported (a store that is not written
// to), corruption (an existing layout is damaged), denied, io.
Result<std::unique_ptr<ImageDestination>> open_destination(const Reference& reference);

// The same for what has no name in the store of `reference`, because it is found through an image there that it refers
// to: it is committed under its digest alone. Errors: and unsupported (an archive, which is written as a whole).
Result<std::unique_ptr<ImageDestination>> open_referrer_destination(const Reference& reference);

}  // namespace dadi::oci
