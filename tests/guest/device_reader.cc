// Reads a block device at random, past the page cache, and compares every byte with another that holds the same:
//   device_reader DEVICE REFERENCE EXTENTS STATUS [THREADS]
// EXTENTS: lines of "OFFSET LENGTH", where to read. STATUS: a file that is replaced ten times a second by the numbers
// of reads, errors and differences so far. Ends on SIGTERM with a line of numbers; status 0: no error, no difference.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::uint64_t kBlock = 4096;
constexpr std::uint64_t kLongest = 128 * 1024;

struct Extent {
  std::uint64_t offset;
  std::uint64_t length;
};

struct Numbers {
  std::atomic<std::uint64_t> reads = 0;
  std::atomic<std::uint64_t> errors = 0;
  std::atomic<std::uint64_t> differences = 0;
  std::atomic<std::int64_t> longest_ms = 0;
};

volatile std::sig_atomic_t ending = 0;
void end(int) {
  ending = 1;
}

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<std::byte, Free>;
Memory aligned_memory() {
  return Memory(static_cast<std::byte*>(std::aligned_alloc(kBlock, kLongest)));
}

int open_direct(const char* path) {
  const int file = ::open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (file < 0) {
    std::fprintf(stderr, "%s: %s\n", path, std::strerror(errno));
    std::exit(2);
  }
  return file;
}

bool read_whole(int file, std::byte* to, std::uint64_t size, std::uint64_t offset) {
  return ::pread(file, to, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
}

void read_at_random(const char* device, const char* reference, const std::vector<Extent>& extents, unsigned seed,
                    Numbers& numbers) {
  const int file = open_direct(device);
  const int truth = open_direct(reference);
  const Memory got = aligned_memory();
  const Memory expected = aligned_memory();
  std::mt19937_64 random(seed);
  while (ending == 0) {
    const Extent& extent = extents[random() % extents.size()];
    const std::uint64_t offset = extent.offset + random() % (extent.length / kBlock) * kBlock;
    const std::uint64_t size =
        std::min(extent.offset + extent.length - offset, (1 + random() % (kLongest / kBlock)) * kBlock);
    const auto begin = std::chrono::steady_clock::now();
    const bool good = read_whole(file, got.get(), size, offset);
    const auto took = std::chrono::steady_clock::now() - begin;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
    if (ms > numbers.longest_ms) numbers.longest_ms = ms;  // between threads, any of the long ones will do
    if (!good) {
      ++numbers.errors;
      std::fprintf(stderr, "read of %llu at %llu: %s\n", static_cast<unsigned long long>(size),
                   static_cast<unsigned long long>(offset), std::strerror(errno));
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // a broken device fails faster than a log takes
    } else if (!read_whole(truth, expected.get(), size, offset) || std::memcmp(got.get(), expected.get(), size) != 0) {
      ++numbers.differences;
    }
    ++numbers.reads;
  }
}

void write_status(const std::string& path, const Numbers& numbers) {
  std::ofstream(path + ".new") << numbers.reads << ' ' << numbers.errors << ' ' << numbers.differences << '\n';
  std::rename((path + ".new").c_str(), path.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  std::vector<Extent> extents;
  std::ifstream list(argv[3]);
  for (Extent extent = {}; list >> extent.offset >> extent.length;) {
    if (extent.offset % kBlock == 0 && extent.length >= kBlock) extents.push_back(extent);
  }
  if (extents.empty()) return 2;
  ::signal(SIGTERM, end);

  Numbers numbers;
  std::vector<std::jthread> threads;
  const unsigned count = argc > 5 ? static_cast<unsigned>(std::atoi(argv[5])) : 4;
  for (unsigned seed = 0; seed < count; ++seed) {
    threads.emplace_back([&, seed] { read_at_random(argv[1], argv[2], extents, seed, numbers); });
  }
  while (ending == 0) {
    write_status(argv[4], numbers);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  threads.clear();
  write_status(argv[4], numbers);
  std::printf("reads %llu, errors %llu, differences %llu, longest %lld ms\n",
              static_cast<unsigned long long>(numbers.reads), static_cast<unsigned long long>(numbers.errors),
              static_cast<unsigned long long>(numbers.differences), static_cast<long long>(numbers.longest_ms));
  return numbers.errors == 0 && numbers.differences == 0 ? 0 : 1;
}
