// dadi cache ls|prune|verify: the blocks of remote images that this host keeps, and the layers that it has converted
#include "apps/dadi/cache_layers.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/table.h"
#include "runtime/cache/disk_cache.h"

namespace dadi {
namespace {

using cache::DiskCache;

struct CacheOptions {
  std::string folder;
  std::string max_size = "0";
};

// Null where there is no cache yet: then it is empty. Errors: denied, io …
Result<std::unique_ptr<DiskCache>> open_cache(const CacheOptions& options) {
  const auto folder = cache::cache_folder(options.folder);
  std::error_code failed;
  if (!std::filesystem::exists(folder, failed)) return nullptr;
  auto opened = std::make_unique<DiskCache>(cache::DiskCacheOptions{.folder = folder});
  if (!opened->usable()) return opened->usable().error();
  return opened;
}

Result<void> list_cache(Session& session, const CacheOptions& options) {
  DADI_TRY(const auto opened, open_cache(options));
  std::vector<DiskCache::Entry> entries;
  if (opened) {
    DADI_TRY(entries, opened->list());
  }
  DADI_TRY(const auto layers, open_layers(options.folder));
  if (session.options.json) {
    Json all = Json::array();
    for (const auto& entry : entries)
      all.push_back({{"kind", "blocks"},
                     {"digest", "sha256:" + entry.hex},
                     {"size", entry.size.value},
                     {"cached", entry.cached.value},
                     {"on_disk", entry.room.value},
                     {"chunks", entry.chunks},
                     {"present", entry.present},
                     {"whole", entry.whole},
                     {"in_use", entry.in_use},
                     {"last_used", entry.last_used}});
    if (layers) list_layers(*layers, all);
    session.answer(all);
    return {};
  }
  using enum Table::Align;
  Table table({{"BLOB"}, {"SIZE", kRight}, {"CACHED", kRight}, {"ON DISK", kRight}, {"WHOLE"}, {"IN USE"}, {"USED"}});
  for (const auto& entry : entries)
    table.add({"sha256:" + entry.hex.substr(0, 12), format_size(entry.size), format_size(entry.cached),
               format_size(entry.room), entry.whole ? "yes" : "no", entry.in_use ? "yes" : "no",
               local_time(entry.last_used)});
  session.out().text(table.render());
  if (layers) print_layers(session, *layers);
  return {};
}

Result<void> prune(Session& session, const CacheOptions& options) {
  DADI_TRY(const Bytes most, parse_size(options.max_size).context("--max-size"));
  DADI_TRY(const auto opened, open_cache(options));
  std::uint64_t chunks = 0;
  Bytes freed;
  if (opened) {
    const auto room = [&]() -> Result<Bytes> {
      DADI_TRY(const auto entries, opened->list());
      Bytes sum;
      for (const auto& entry : entries) sum += entry.room;
      return sum;
    };
    DADI_TRY(const Bytes before, room());
    DADI_TRY(chunks, opened->shrink(most));
    DADI_TRY(const Bytes after, room());
    freed = before > after ? before - after : Bytes{};
  }
  DADI_TRY(const auto layers, open_layers(options.folder));
  layer_cache::LayerStore::Removed removed;
  if (layers) removed = layers->shrink(most, std::chrono::system_clock::now());
  freed += removed.size;
  if (session.options.json) {
    session.answer({{"chunks", chunks}, {"layers", removed.layers}, {"bytes", freed.value}});
  } else {
    session.out().print("removed {} and {}, {}\n", format_count(chunks, "chunk"), format_count(removed.layers, "layer"),
                        format_size(freed));
  }
  return {};
}

Result<void> verify_cache(Session& session, const CacheOptions& options) {
  DADI_TRY(const auto opened, open_cache(options));
  std::vector<DiskCache::Entry> entries;
  if (opened) {
    DADI_TRY(entries, opened->list());
  }
  Json all = Json::array();
  std::uint64_t damaged = 0;
  for (const auto& entry : entries) {
    DADI_TRY(const auto verified, opened->verify(entry.hex, session.read_context()).context("sha256:{}", entry.hex));
    damaged += verified.damaged;
    all.push_back({{"kind", "blocks"},
                   {"digest", "sha256:" + entry.hex},
                   {"sound", verified.sound},
                   {"damaged", verified.damaged},
                   {"whole", verified.whole}});
    if (!session.options.json)
      session.out().print("sha256:{}  {} sound, {} damaged{}\n", entry.hex.substr(0, 12), verified.sound,
                          verified.damaged, verified.whole ? ", whole" : "");
  }
  DADI_TRY(const auto layers, open_layers(options.folder));
  std::uint64_t damaged_layers = 0;
  if (layers) {
    DADI_TRY(damaged_layers, verify_layers(session, *layers, all));
  }
  if (session.options.json) session.answer(all);
  if (damaged + damaged_layers > 0)
    return Error::corruption("{} and {} damaged, and dropped: they are fetched, or converted, again",
                             format_count(damaged, "chunk"), format_count(damaged_layers, "layer"));
  return {};
}

}  // namespace

void add_cache(CommandLine& line, Session& session) {
  auto& options = session.keep<CacheOptions>();
  const auto add_folder = [&](Command& command) {
    command.option("--cache-dir", options.folder, "DIR", "The cache's folder");
  };
  auto group = line.add("cache", "Blocks of remote images and converted layers that this host keeps",
                        "dadi cache ls\n"
                        "dadi cache prune --max-size 1G\n"
                        "dadi cache verify");
  auto list = group.add("ls", "List what is kept of which blob",
                        "dadi cache ls\n"
                        "dadi cache ls --json | jq 'map(.on_disk) | add'");
  add_folder(list);
  list.run([&] { session.finish(list_cache(session, options).context("cache ls")); });

  auto pruning = group.add("prune", "Remove what was used longest ago",
                           "dadi cache prune --max-size 1G\n"
                           "dadi cache prune");
  add_folder(pruning);
  pruning.option("--max-size", options.max_size, "SIZE", "What may stay of the blocks, and of the layers");
  pruning.run([&] { session.finish(prune(session, options).context("cache prune")); });

  auto verifying = group.add("verify", "Read everything that is kept, and drop what is damaged",
                             "dadi cache verify\n"
                             "dadi cache verify --cache-dir /var/cache/dadi");
  add_folder(verifying);
  verifying.run([&] { session.finish(verify_cache(session, options).context("cache verify")); });
}

}  // namespace dadi
