// bench_blocks lz4|zstd BLOCK_SIZE FILE: compresses a file's blocks, each by itself, by the library alone and on one
// thread. Its processor time is the least that compressing takes.
#include <fcntl.h>
#include <lz4.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const bool zstd = std::string_view(argv[1]) == "zstd";
  const auto block = static_cast<std::size_t>(std::atoi(argv[2]));
  const int fd = ::open(argv[3], O_RDONLY | O_CLOEXEC);
  if (fd < 0 || block == 0) return 2;
  ZSTD_CCtx* context = ZSTD_createCCtx();
  std::vector<char> raw((std::size_t{256} << 10) / block * block);
  std::vector<char> stored(ZSTD_compressBound(block) +
                           static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(block))));
  unsigned long long total = 0;
  for (ssize_t n = 0; (n = ::read(fd, raw.data(), raw.size())) > 0;) {
    for (std::size_t at = 0; at < static_cast<std::size_t>(n); at += block) {
      const std::size_t size = std::min(block, static_cast<std::size_t>(n) - at);
      total += zstd ? ZSTD_compressCCtx(context, stored.data(), stored.size(), &raw[at], size, 1)
                    : static_cast<std::size_t>(LZ4_compress_default(&raw[at], stored.data(), static_cast<int>(size),
                                                                    static_cast<int>(stored.size())));
    }
  }
  ZSTD_freeCCtx(context);
  std::printf("%llu\n", total);
  return 0;
}
