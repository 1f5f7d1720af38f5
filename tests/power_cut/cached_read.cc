// Reads a file through a cache on disk, at random, and compares what comes with the file:
//   cached_read FOLDER FILE SEED
// Exit status: 1 when another byte came. A cache that cannot be used is no failure.
#include <cstdio>
#include <cstdlib>
#include <random>

#include "libformat/base/bytes.h"
#include "libformat/base/digest.h"
#include "libformat/blob/file_blob.h"
#include "runtime/cache/cached_blob.h"

namespace dadi {
namespace {

constexpr Bytes kChunk{16 << 10};
constexpr int kReads = 64;

Result<int> run(char** words) {
  DADI_TRY(const SharedBlob file, FileBlob::open(words[2]));
  DADI_TRY(const auto content, read_range(*file, {0}, file->size()));
  std::mt19937 lots(static_cast<unsigned>(std::strtoul(words[3], nullptr, 10)));
  auto cache =
      std::make_shared<cache::DiskCache>(cache::DiskCacheOptions{.folder = words[1], .chunk = kChunk, .fetches = 2});
  const auto cached = cache::CachedBlob::open(cache, Digest::of(content), file->size(), file);
  std::vector<std::byte> out(kChunk.value * 2);
  for (int i = 0; i < kReads; ++i) {
    const std::size_t at = lots() % content.size();
    const auto wanted = std::span(content).subspan(at, std::min(content.size() - at, lots() % out.size() + 1));
    const auto got = std::span(out).first(wanted.size());
    DADI_CHECK(cached->read_at({at}, got));
    if (as_text(got) != as_text(wanted)) {
      std::fprintf(stderr, "%zu bytes at %zu are others\n", wanted.size(), at);
      return 1;
    }
    if (i % 8 == 0) cached->flush();
  }
  std::printf("%llu hits, %llu damaged\n", static_cast<unsigned long long>(cache->stats().hits),
              static_cast<unsigned long long>(cache->stats().damaged));
  return 0;
}

}  // namespace
}  // namespace dadi

int main(int count, char** words) {
  if (count != 4) return 2;
  const auto status = dadi::run(words);
  if (!status) std::fprintf(stderr, "%s\n", status.error().message().c_str());
  return status ? *status : 3;
}
