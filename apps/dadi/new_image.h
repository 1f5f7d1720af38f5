// What commands share that write an image whose layer comes from a device: where it goes, how its blob is compressed,
// and what is said in the end.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "apps/dadi/command_line.h"
#include "apps/dadi/compression.h"
#include "apps/dadi/session.h"
#include "libconvert/oci/reference.h"
#include "libconvert/pipeline/derived_image.h"
#include "libconvert/pipeline/device_layer.h"
#include "libconvert/registry/access.h"

namespace dadi {

struct NewImageOptions {
  std::string destination;
  CompressionOptions compression;
  unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
  std::string digest_file;
};

// DST, and options for the rest.
void add_new_image_options(Command& command, NewImageOptions& options);

// Shows the copying of an image's blobs as one task a blob.
class CopyProgress final : public pipeline::CopyObserver {
 public:
  explicit CopyProgress(Session& session) : session_(session) {}

  void blob_started(const oci::Descriptor& blob) override;
  void blob_read(Bytes done) override { task_->set_done(done); }
  void blob_finished() override { task_->finish(); }
  void note(const std::string& text) override { session_.note(text); }

 private:
  Session& session_;
  std::shared_ptr<Progress::Task> task_;
};

// An image in the making. One thread.
class NewImage {
 public:
  // `from`: where blobs come from that the destination may have in another repository already; null: from nowhere.
  // Errors: invalid_argument (the options), those of open_destination().
  static Result<NewImage> open(Session& session, const NewImageOptions& options, registry::Access access,
                               const oci::Reference* from);

  oci::ImageDestination& destination() { return *destination_; }
  const oci::Reference& reference() const { return reference_; }

  // Writes what `device` holds differently than `below`, in blocks that have sectors in `written`, as a layer. None: it
  // holds nothing differently. Errors: those of DeviceChanges::find() and write_device_layer().
  Result<std::optional<pipeline::DeviceLayer>> write_layer(const BlockReader& device, const BlockReader* below,
                                                           const lsmt::SectorSet& written,
                                                           const pipeline::DeviceLayerOptions& options);

  // Publishes the image and says so. Call once, last.
  Result<void> publish(const oci::Descriptor& manifest, const std::optional<pipeline::DeviceLayer>& layer,
                       const pipeline::CopyCounts& copied);

 private:
  NewImage(Session& session, std::string digest_file, oci::Reference reference,
           std::unique_ptr<oci::ImageDestination> destination, std::unique_ptr<pipeline::CompressionWorkers> workers)
      : session_(session),
        digest_file_(std::move(digest_file)),
        reference_(std::move(reference)),
        workers_(std::move(workers)),
        destination_(std::move(destination)) {}

  Session& session_;
  std::string digest_file_;
  oci::Reference reference_;
  std::unique_ptr<pipeline::CompressionWorkers> workers_;
  std::unique_ptr<oci::ImageDestination> destination_;
};

}  // namespace dadi
