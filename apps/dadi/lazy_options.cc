#include "apps/dadi/lazy_options.h"

#include <bit>

#include "apps/dadi/sizes.h"

namespace dadi {
namespace {

constexpr Bytes kLeastChunk{16U << 10};
constexpr Bytes kMostChunk{16U << 20};

Result<Bytes> parse_rate(const std::string& text, const char* name) {
  if (text.empty()) return Bytes{};
  return parse_size(text).context("{}", name);
}

}  // namespace

void add_lazy_options(Command& command, LazyWords& words) {
  command.option("--cache-dir", words.cache_folder, "DIR", "Where what was read of images on registries is kept")
      .option("--cache-size", words.cache_size, "SIZE", "What all of that may take on disk")
      .option("--cache-tier", words.tier, "DIR", "A folder that hosts share: asked before the registry, and filled")
      .flag("--no-block-cache", words.uncached, "Keep nothing of images on registries")
      .option("--chunk-size", words.chunk, "SIZE",
              "A read of a registry brings what follows it, to the end of such a piece: 16K to 16M")
      .option("--read-time", words.read_time, "SECONDS", "How long a read that fails is tried again")
      .at_least(1);
}

void add_download_options(Command& command, LazyWords& words) {
  command.flag("--no-replay", words.unreplayed, "Do not fetch beforehand what the trace in the image says")
      .option("--max-rate", words.rate, "SIZE", "The most bytes a second from registries for this image")
      .flag("--download", words.download, "Fetch all of the image, too, while nobody waits for reads")
      .option("--download-delay", words.download_delay, "SECONDS", "Begin with that later")
      .option("--download-rate", words.download_rate, "SIZE", "The most bytes a second for that");
}

Result<LazyOptions> parse_lazy_options(const LazyWords& words) {
  LazyOptions options{.cached = !words.uncached, .cache_folder = words.cache_folder, .tier = words.tier};
  DADI_TRY(options.cache_size, parse_size(words.cache_size).context("--cache-size"));
  DADI_TRY(options.chunk, parse_size(words.chunk).context("--chunk-size"));
  if (options.chunk < kLeastChunk || options.chunk > kMostChunk || !std::has_single_bit(options.chunk.value))
    return Error::invalid_argument("--chunk-size {}: a power of two from 16K to 16M it must be", words.chunk);
  DADI_TRY(options.rate, parse_rate(words.rate, "--max-rate"));
  options.replay = !words.unreplayed;
  options.download = words.download;
  options.download_delay = std::chrono::seconds(words.download_delay);
  DADI_TRY(options.download_rate, parse_rate(words.download_rate, "--download-rate"));
  if (options.download && !options.cached)
    return Error::invalid_argument("--download keeps all of the image, and --no-block-cache nothing");
  return options;
}

}  // namespace dadi
