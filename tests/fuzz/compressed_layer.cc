// Compressed layers: gzip of any number of members, zstd of any number of frames, or neither.
// Input: a byte that is the size of the pieces in which the rest arrives, then the stream.
// Holds: what comes out, or that something is wrong, does not depend on the pieces; a plain stream is what it was.
#include "libconvert/pipeline/decompressed_source.h"
#include "tests/fs/archive_reading.h"
#include "tests/fuzz/fuzz_input.h"

namespace dadi::fuzz {
namespace {

struct Outcome {
  bool sound = false;
  std::string_view compression;
  std::vector<std::byte> bytes;  // the first of them
  std::uint64_t size = 0;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// Of at most 16 MiB: a bomb makes many from few.
Outcome decompress(std::span<const std::byte> stream, std::size_t piece_size) {
  constexpr std::size_t kKept = std::size_t{1} << 20;
  constexpr std::uint64_t kMost = std::uint64_t{16} << 20;
  auto source = std::make_unique<fs::PieceSource>(std::vector<std::byte>(stream.begin(), stream.end()), piece_size);
  const auto opened = must(pipeline::DecompressedSource::open(std::move(source)), "a stream in memory opens");
  std::vector<std::byte> buffer(std::size_t{1} << 18);
  Outcome outcome{.sound = true, .compression = opened->compression(), .bytes = {}, .size = 0};
  while (outcome.size < kMost) {
    const auto size = opened->read(buffer);
    if (!size) return {.sound = false, .compression = outcome.compression, .bytes = {}, .size = 0};
    if (*size == 0) break;
    outcome.size += *size;
    const auto kept = std::span(buffer).first(std::min(*size, kKept - outcome.bytes.size()));
    outcome.bytes.insert(outcome.bytes.end(), kept.begin(), kept.end());
  }
  return outcome;
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi::fuzz;
  Input input(data, size);
  const std::size_t piece_size = 1 + input.byte();
  const auto stream = input.rest();
  const Outcome whole = decompress(stream, std::size_t{1} << 20);
  require(decompress(stream, piece_size) == whole, "what comes out does not depend on the pieces");
  require(whole.compression != "none" || std::ranges::equal(whole.bytes, stream), "a plain stream is what it was");
  return 0;
}
