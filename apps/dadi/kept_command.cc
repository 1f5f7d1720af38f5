#include "apps/dadi/kept_command.h"

#include "apps/dadi/container_config.h"
#include "libconvert/oci/json.h"
#include "libformat/base/bytes.h"
#include "libformat/layer_file.h"

namespace dadi {

using layer_cache::ConversionCache;
using layer_cache::KeptLayer;

Digest key_of_command(std::string_view chain, const RunStep& step, const oci::ImageConfig& config, Bytes virtual_size,
                      const zfile::Options& compression) {
  Containment containment;
  take_config(config.json(), containment);
  const oci::Json inputs = {
      chain, step.command, containment.environment, containment.directory, step.host_network, step.message};
  const std::string text = inputs.dump(-1, ' ', false, oci::Json::error_handler_t::replace);
  return layer_cache::key_of(
      {Digest::of(as_bytes(fmt::format("dadi build --run\n{}\n", text))), virtual_size, compression});
}

namespace {

Result<SharedBlob> open_layer(ConversionCache& cache, const KeptLayer& kept, const lsmt::LayerInfo& below) {
  DADI_TRY(SharedBlob blob, cache.open_blob(kept));
  DADI_TRY(const LayerFile file, open_layer_file(blob));
  const lsmt::LayerInfo& info = file.layer.info();
  if (info.parent != below.uuid || info.virtual_size != below.virtual_size)
    return Error::corruption("it is another layer");
  return blob;
}

}  // namespace

Result<std::optional<KeptLayer>> reuse_command(ConversionCache& cache, const Digest& key, std::size_t number,
                                               const lsmt::LayerInfo& below, oci::ImageDestination& destination,
                                               const std::stop_token& stop,
                                               const std::function<void(std::string_view)>& note) {
  auto kept = cache.find(key, number);
  if (!kept) return std::optional<KeptLayer>();
  const auto blob = open_layer(cache, *kept, below);
  if (stop.stop_requested()) return Error::cancelled("stopped");
  if (!blob) {
    if (blob.error().code() != ErrorCode::kNotFound)
      note(fmt::format("what the cache has of the command is not usable: {}", blob.error().message()));
    cache.forget(*kept);
    return std::optional<KeptLayer>();
  }
  DADI_TRY(const bool there, destination.has_blob(kept->blob.digest, kept->blob.size));
  if (!there) DADI_CHECK(layer_cache::copy_blob(*blob, kept->blob, destination, stop));
  cache.use(*kept);
  return kept;
}

void keep_command(ConversionCache& cache, const Digest& key, std::size_t number, const pipeline::DeviceLayer& layer,
                  const std::function<void(std::string_view)>& note) {
  const KeptLayer kept{.key = key,
                       .blob = {layer.descriptor.digest, layer.descriptor.size},
                       .segments = layer.summary.records,
                       .data = layer.summary.data,
                       .archive = {}};
  if (const auto done = cache.keep(kept, number); !done)
    note(fmt::format("the command's layer is not kept in the cache: {}", done.error().message()));
  cache.use(kept);
}

}  // namespace dadi
