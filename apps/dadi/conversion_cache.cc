#include "apps/dadi/conversion_cache.h"

#include "apps/dadi/sizes.h"
#include "libconvert/registry/image_store.h"
#include "runtime/cache/disk_cache.h"

namespace dadi {
namespace {

using layer_cache::ConversionCache;
using layer_cache::LayerStore;
using Kind = oci::Reference::Kind;

Result<oci::Reference> parse_list_reference(const char* option, const std::string& text) {
  auto reference = oci::parse_reference(text).context("{}", option);
  if (!reference) return reference;
  if ((reference->kind != Kind::kRegistry && reference->kind != Kind::kLayout) || reference->digest)
    return Error::invalid_argument("{} {}: not a tag on a registry or in an OCI layout", option, text);
  return reference;
}

// The host's folder, or one for this run where layers wait on their way between stores.
Result<LayerStore> open_store(Session& session, const ConversionCacheOptions& options, Bytes limit) {
  if (limit.value > 0 && !options.none) {
    auto store = LayerStore::open(layer_store_folder(options.folder));
    if (store) return store;
    session.note(fmt::format("converted layers are not kept: {}", store.error().message()));
    if (options.from.empty() && options.to.empty()) return store;
  }
  std::error_code failed;
  const auto parent = std::filesystem::temp_directory_path(failed);
  if (failed) return Error::from_errno(failed.value(), "find a folder for temporary files");
  return LayerStore::temporary(parent);
}

}  // namespace

void add_conversion_cache_options(Command& command, ConversionCacheOptions& options) {
  command.option("--cache-dir", options.folder, "DIR", "The host's cache, where converted layers are kept, too")
      .option("--layer-cache", options.size, "SIZE", "What converted layers may take there; 0: keep none")
      .option("--cache-from", options.from, "REF", "Look for converted layers there, too, as in HOST/REPO:TAG")
      .option("--cache-to", options.to, "REF", "Put converted layers there, under a tag of their own")
      .flag("--no-cache", options.none, "Convert everything, and keep nothing on this host");
}

Result<OpenedConversionCache> open_conversion_cache(Session& session, const ConversionCacheOptions& options,
                                                    const registry::Access& access) {
  OpenedConversionCache opened;
  if (options.none && !options.from.empty())
    return Error::invalid_argument("--no-cache and --cache-from exclude each other");
  DADI_TRY(const Bytes limit, parse_size(options.size).context("--layer-cache"));
  if (!options.from.empty()) {
    DADI_TRY(opened.from, parse_list_reference("--cache-from", options.from));
  }
  if (!options.to.empty()) {
    DADI_TRY(opened.to, parse_list_reference("--cache-to", options.to));
  }
  if ((options.none || limit.value == 0) && !opened.from && !opened.to) return opened;
  auto store = open_store(session, options, limit);
  if (!store) return opened;  // it was said
  opened.cache = std::make_unique<ConversionCache>(
      std::move(*store),
      ConversionCache::Options{
          .limit = limit, .look_up = !options.none, .now = std::chrono::system_clock::now(), .stop = session.stop()});
  if (opened.from) {
    auto source = registry::open_source(*opened.from, access);
    auto added = source ? opened.cache->add_source(std::move(*source)) : Result<void>(source.error());
    if (!added && added.error().code() != ErrorCode::kNotFound)
      session.note(fmt::format("nothing is taken from {}: {}", opened.from->to_string(), added.error().message()));
  }
  return opened;
}

void finish_conversion_cache(Session& session, const OpenedConversionCache& opened, const oci::Reference& destination,
                             const registry::Access& access) {
  if (!opened.cache) return;
  if (opened.to) {
    const oci::Reference& to = *opened.to;
    registry::Access writing = access;
    if (to.kind == Kind::kRegistry && to.host == destination.host && to.repository != destination.repository)
      writing.mount_from = destination.repository;
    const auto published =
        opened.cache->publish({.source = [&] { return registry::open_source(to, access); },
                               .destination = [&] { return registry::open_destination(to, writing); }});
    if (!published) {
      session.note(fmt::format("the image is complete, but its layers are not in {}: {}", to.to_string(),
                               published.error().message()));
      session.mark_partial();
    }
  }
  opened.cache->shrink();
}

std::filesystem::path layer_store_folder(const std::string& cache_folder) {
  return cache::cache_folder(cache_folder) / "layers";
}

}  // namespace dadi
