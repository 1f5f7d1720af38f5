// Writes to a block device until the machine loses its power, and says what it has flushed; first compares what is
// there with what such writers before it had said:
//   flushed_writer DEVICE OFFSET SEED START[:FLUSHED]…
// A round writes some runs of sectors, which a seed and its number determine; each sector tells its place and its
// round. Now and then the device is flushed, and then "@@flushed ROUND" is printed. The last START is where this writer
// begins; each before it is that of a writer of which FLUSHED was the last that it said. A sector must hold the last
// round of those flushed that wrote it, or a later one that was on its way. Ends on a difference ("@@wrong …"), with
// status 1.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kSectors = 4096;  // that are written to
constexpr std::uint64_t kLongest = 48;    // sectors of a run
constexpr std::uint64_t kMagic = 0x6461'6469'2063'7574;
constexpr std::uint64_t kOnTheirWay = 1000;  // rounds at most between one that was said to be flushed and a power cut

using Sector = std::array<std::uint64_t, kSector / sizeof(std::uint64_t)>;

// splitmix64: https://prng.di.unimi.it/splitmix64.c
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t end) { return next() % end; }

 private:
  std::uint64_t state_;
};

Sector content(std::uint64_t sector, std::uint64_t round) {
  Sector words{kMagic, sector, round};
  Random fill(sector << 32 ^ round);
  for (std::size_t i = 3; i < words.size(); ++i) words[i] = fill.next();
  return words;
}

struct Run {
  std::uint64_t begin;
  std::uint64_t length;
};

struct Round {
  std::vector<Run> runs;
  bool flushed;  // after it
};

Round round_of(std::uint64_t seed, std::uint64_t number) {
  Random random(seed ^ number * 0x2545f4914f6cdd1d);
  Round round{.runs = {}, .flushed = random.below(3) == 0};
  for (std::uint64_t left = 1 + random.below(6); left > 0; --left) {
    const std::uint64_t begin = random.below(kSectors);
    round.runs.push_back({begin, 1 + random.below(std::min(kLongest, kSectors - begin))});
  }
  return round;
}

struct Expected {
  std::uint64_t flushed = 0;         // the round; 0: none
  std::vector<std::uint64_t> later;  // that may be there as well
};

[[noreturn]] void fail(const char* what) {
  std::printf("@@wrong %s\n", what);
  std::perror(what);
  std::exit(1);
}

struct Buffer {
  explicit Buffer(std::uint64_t size) : bytes(static_cast<char*>(std::aligned_alloc(4096, size))) {}
  ~Buffer() { std::free(bytes); }
  Buffer(const Buffer&) = delete;
  char* bytes;
};

void expect(std::vector<Expected>& sectors, std::uint64_t seed, std::uint64_t start, std::uint64_t flushed) {
  for (std::uint64_t number = start; number <= flushed + kOnTheirWay; ++number) {
    for (const Run& run : round_of(seed, number).runs) {
      for (std::uint64_t at = run.begin; at < run.begin + run.length; ++at) {
        if (number > flushed)
          sectors[at].later.push_back(number);
        else
          sectors[at] = {number, {}};
      }
    }
  }
}

void compare(int device, std::uint64_t offset, const std::vector<Expected>& sectors) {
  const Buffer buffer(kSectors * kSector);
  if (::pread(device, buffer.bytes, kSectors * kSector, static_cast<off_t>(offset)) != kSectors * kSector) fail("read");
  std::uint64_t written = 0;
  std::uint64_t later = 0;
  for (std::uint64_t at = 0; at < kSectors; ++at) {
    Sector found;
    std::memcpy(found.data(), buffer.bytes + at * kSector, kSector);
    const Expected& expected = sectors[at];
    if (found == Sector{} && expected.flushed == 0) continue;
    const std::uint64_t round = found[2];
    const bool is_later = std::ranges::find(expected.later, round) != expected.later.end();
    if (found != content(at, round) || (round != expected.flushed && !is_later)) {
      std::printf("@@wrong sector %llu has round %llu%s, not %llu\n", static_cast<unsigned long long>(at),
                  static_cast<unsigned long long>(round), found == content(at, round) ? "" : " (torn)",
                  static_cast<unsigned long long>(expected.flushed));
      std::exit(1);
    }
    ++written;
    later += round != expected.flushed ? 1 : 0;
  }
  std::printf("@@compared %llu sectors, %llu of them newer than the last flush\n",
              static_cast<unsigned long long>(written), static_cast<unsigned long long>(later));
}

[[noreturn]] void write(int device, std::uint64_t offset, std::uint64_t seed, std::uint64_t start) {
  const Buffer buffer(kLongest * kSector);
  for (std::uint64_t number = start;; ++number) {
    const Round round = round_of(seed, number);
    for (const Run& run : round.runs) {
      for (std::uint64_t i = 0; i < run.length; ++i)
        std::memcpy(buffer.bytes + i * kSector, content(run.begin + i, number).data(), kSector);
      const auto size = static_cast<ssize_t>(run.length * kSector);
      if (::pwrite(device, buffer.bytes, run.length * kSector, static_cast<off_t>(offset + run.begin * kSector)) !=
          size)
        fail("write");
    }
    if (!round.flushed) continue;
    if (::fsync(device) != 0) fail("flush");
    std::printf("@@flushed %llu\n", static_cast<unsigned long long>(number));
  }
}

}  // namespace

int main(int count, char** words) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (count < 5) return 2;
  const int device = ::open(words[1], O_RDWR | O_DIRECT | O_CLOEXEC);
  if (device < 0) fail(words[1]);
  const std::uint64_t offset = std::strtoull(words[2], nullptr, 10);
  const std::uint64_t seed = std::strtoull(words[3], nullptr, 10);
  std::vector<Expected> sectors(kSectors);
  for (int i = 4; i < count; ++i) {
    char* end = nullptr;
    const std::uint64_t start = std::strtoull(words[i], &end, 10);
    if (*end == ':') {
      expect(sectors, seed, start, std::strtoull(end + 1, nullptr, 10));
      continue;
    }
    compare(device, offset, sectors);
    write(device, offset, seed, start);
  }
  return 2;
}
