#include "apps/dadi/cache_layers.h"

#include <ctime>

#include "apps/dadi/conversion_cache.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/table.h"

namespace dadi {

using layer_cache::LayerStore;

namespace {

std::uint32_t seconds_of(LayerStore::Time time) {
  return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count());
}

}  // namespace

std::string local_time(std::uint32_t stamp) {
  if (stamp == 0) return "-";
  const std::time_t seconds = stamp;
  std::tm local{};
  char text[32];
  if (::localtime_r(&seconds, &local) == nullptr) return "?";
  return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local)};
}

Result<std::unique_ptr<LayerStore>> open_layers(const std::string& folder) {
  const auto path = layer_store_folder(folder);
  std::error_code failed;
  if (!std::filesystem::exists(path, failed)) return nullptr;
  DADI_TRY(LayerStore store, LayerStore::open(path));
  return std::make_unique<LayerStore>(std::move(store));
}

void list_layers(const LayerStore& store, Json& all) {
  for (const auto& entry : store.list())
    all.push_back({{"kind", "layer"},
                   {"key", entry.layer.key.to_string()},
                   {"digest", entry.layer.blob.digest.to_string()},
                   {"size", entry.layer.blob.size.value},
                   {"last_used", seconds_of(entry.used)}});
}

void print_layers(Session& session, const LayerStore& store) {
  const auto entries = store.list();
  if (entries.empty()) return;
  using enum Table::Align;
  Table table({{"CONVERTED LAYER"}, {"SIZE", kRight}, {"USED"}});
  for (const auto& entry : entries)
    table.add(
        {entry.layer.blob.digest.brief(), format_size(entry.layer.blob.size), local_time(seconds_of(entry.used))});
  session.out().print("\n{}", table.render());
}

Result<std::uint64_t> verify_layers(Session& session, const LayerStore& store, Json& all) {
  std::uint64_t damaged = 0;
  for (const auto& entry : store.list()) {
    const auto blob = store.open_blob(entry.layer, session.stop());
    if (!blob && session.stop().stop_requested()) return blob.error();
    if (!blob && blob.error().code() == ErrorCode::kNotFound) continue;  // gone meanwhile
    if (!blob) ++damaged;
    all.push_back({{"kind", "layer"},
                   {"key", entry.layer.key.to_string()},
                   {"digest", entry.layer.blob.digest.to_string()},
                   {"sound", blob.has_value()}});
    if (!session.options.json)
      session.out().print("{}  converted layer, {}\n", entry.layer.blob.digest.brief(), blob ? "sound" : "damaged");
  }
  return damaged;
}

}  // namespace dadi
