#include "apps/dadi/new_image.h"

#include "apps/dadi/sizes.h"
#include "libconvert/registry/image_store.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {

using Kind = oci::Reference::Kind;

void add_new_image_options(Command& command, NewImageOptions& options) {
  command.argument("DST", options.destination, "Where the image goes, as in oci:DIR:TAG or docker://HOST/REPO:TAG");
  add_compression_options(command, options.compression);
  command.option("-j,--jobs", options.jobs, "N", "Threads that compress; changes no byte of the result")
      .at_least(1)
      .option("--digestfile", options.digest_file, "FILE", "Also write the image's digest to a file");
}

void CopyProgress::blob_started(const oci::Descriptor& blob) {
  task_ = session_.progress().start(blob.digest.brief(), blob.size);
}

Result<NewImage> NewImage::open(Session& session, const NewImageOptions& options, registry::Access access,
                                const oci::Reference* from) {
  DADI_TRY(const zfile::Options compression, parse_compression(options.compression));
  DADI_TRY(oci::Reference to, oci::parse_reference(options.destination));
  if (from != nullptr && from->kind == Kind::kRegistry && from->host == to.host && from->repository != to.repository)
    access.mount_from = from->repository;
  DADI_TRY(auto destination, registry::open_destination(to, access).context("{}", to.to_string()));
  DADI_TRY(auto workers, pipeline::CompressionWorkers::create(compression, options.jobs));
  return NewImage(session, options.digest_file, std::move(to), std::move(destination), std::move(workers));
}

Result<std::optional<pipeline::DeviceLayer>> NewImage::write_layer(const BlockReader& device, const BlockReader* below,
                                                                   const lsmt::SectorSet& written,
                                                                   const pipeline::DeviceLayerOptions& options) {
  const auto comparing = session_.progress().start("comparing", to_bytes(written.sectors()));
  DADI_TRY(const auto changes, pipeline::DeviceChanges::find(device, below, written, session_.read_context(),
                                                             [&](Bytes done) { comparing->set_done(done); }));
  comparing->finish();
  if (changes.empty()) return std::optional<pipeline::DeviceLayer>();
  const auto writing = session_.progress().start("writing", changes.data());
  DADI_TRY(auto layer,
           pipeline::write_device_layer(device, changes, options, *destination_, *workers_, session_.read_context(),
                                        [&](Bytes done) { writing->set_done(done); }));
  writing->finish();
  session_.detail(fmt::format("{} segments, {} of blocks in {}", layer.summary.records, format_size(layer.summary.data),
                              format_size(layer.descriptor.size)));
  return std::optional(std::move(layer));
}

Result<void> NewImage::publish(const oci::Descriptor& manifest, const std::optional<pipeline::DeviceLayer>& layer,
                               const pipeline::CopyCounts& copied) {
  DADI_CHECK(destination_->commit(manifest));
  const std::string digest = manifest.digest.to_string();
  if (!digest_file_.empty()) DADI_CHECK(replace_file(digest_file_, as_bytes(digest + "\n")));
  if (!session_.options.json) {
    session_.out().print("{}\n", digest);
    return {};
  }
  Json written;  // null: no layer was needed
  if (layer)
    written = {{"digest", layer->descriptor.digest.to_string()},
               {"size", layer->descriptor.size.value},
               {"uuid", layer->uuid.to_string()},
               {"segments", layer->summary.records},
               {"data_size", layer->summary.data.value}};
  session_.answer({{"reference", reference_.to_string()},
                   {"digest", digest},
                   {"media_type", manifest.media_type},
                   {"layer", std::move(written)},
                   {"blobs_copied", copied.blobs_copied},
                   {"blobs_there", copied.blobs_there},
                   {"bytes_copied", copied.bytes_copied.value}});
  return {};
}

}  // namespace dadi
