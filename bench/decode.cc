// Reading a device, beside the codec and the checksum alone on the same blocks: bench_decode [OPTIONS] LAYER…
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "libformat/blob/memory_blob.h"
#include "libformat/layer_file.h"
#include "runtime/device/image_device.h"

namespace dadi::runtime {
namespace {

template <typename T>
T must(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "bench_decode: %s\n", result.error().message().c_str());
  std::exit(1);
}

// The layers in memory, opened by themselves and as a device, once from memory and once from their files.
struct Image {
  std::vector<LayerFile> layers;
  std::unique_ptr<lsmt::StackReader> stack;
  std::unique_ptr<ImageDevice> in_memory;
  std::unique_ptr<ImageDevice> in_files;
};

Image open_image(const std::vector<std::string>& paths) {
  Image image;
  std::vector<DeviceLayer> in_memory;
  std::vector<DeviceLayer> in_files;
  std::vector<lsmt::LayerReader> readers;
  for (const std::string& path : paths) {
    const auto file = must(FileBlob::open(path));
    const auto memory = std::make_shared<MemoryBlob>(must(read_range(*file, {0}, file->size())));
    image.layers.push_back(must(open_layer_file(memory)));
    readers.push_back(image.layers.back().layer);
    in_memory.push_back({path, memory});
    in_files.push_back({path, file});
  }
  image.stack = must(lsmt::StackReader::open(std::move(readers)));
  image.in_memory = must(ImageDevice::open(std::move(in_memory), {}, {}));
  image.in_files = must(ImageDevice::open(std::move(in_files), {}, {}));
  return image;
}

struct Block {
  const zfile::Reader* file;
  std::uint64_t number;
};
struct Read {
  Sectors at;
  std::vector<Block> blocks;  // that hold it
};

// The compressed blocks that hold [at, at + length), if all of it is compressed data.
std::vector<Block> blocks_of(const Image& image, Sectors at, Sectors length) {
  std::vector<Block> blocks;
  auto cursor = image.stack->index().from(at);
  for (const Sectors end = at + length; at < end;) {
    const auto piece = cursor.next();
    if (piece.kind != Extent::Kind::kData || !image.layers[piece.layer].blocks) return {};
    const zfile::Reader& file = *image.layers[piece.layer].blocks;
    const Sectors part = std::min(piece.length, end - at);
    const std::uint64_t size = file.info().block_size;
    for (std::uint64_t i = to_bytes(piece.moffset).value / size; i * size < to_bytes(piece.moffset + part).value; ++i)
      if (blocks.empty() || blocks.back().file != &file || blocks.back().number != i) blocks.push_back({&file, i});
    at += part;
  }
  return blocks;
}

// Random places, aligned to their size, all of whose sectors are compressed data.
std::vector<Read> random_reads(const Image& image, Bytes size, std::size_t count) {
  std::vector<Read> reads;
  std::mt19937_64 random(1);
  const std::uint64_t places = image.stack->size().value / whole_sectors(size).value;
  for (std::size_t tries = 0; reads.size() < count && tries < 1000 * count; ++tries) {
    const Sectors at{random() % places * whole_sectors(size).value};
    auto blocks = blocks_of(image, at, whole_sectors(size));
    if (!blocks.empty()) reads.push_back({at, std::move(blocks)});
  }
  return reads;
}

void device(benchmark::State& state, const ImageDevice& device, const std::vector<Read>& reads, Bytes size) {
  std::vector<std::byte> out(size.value);
  const auto before = device.stats().cache;
  std::size_t i = 0;
  for (auto _ : state)
    if (!device.read_at(reads[i++ % reads.size()].at, out)) return state.SkipWithError("a read failed");
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(size.value));
  const auto after = device.stats().cache;
  const auto hits = static_cast<double>(after.hits - before.hits);
  state.counters["hits"] = hits / (hits + static_cast<double>(after.misses - before.misses) + 1);
}

// What is stored of the blocks is in memory, as it is for the device.
void codec(benchmark::State& state, const std::vector<Read>& reads, Bytes size) {
  std::vector<std::byte> out(2 * zfile::kMaxBlockSize);
  struct Stored {
    std::vector<std::byte> bytes;
    std::size_t raw;
    zfile::Algorithm algorithm;
    bool verify;
  };
  std::vector<std::vector<Stored>> stored;
  for (const Read& read : reads) {
    auto& blocks = stored.emplace_back();
    for (const Block& block : read.blocks) {
      const auto range = block.file->stored_range(block.number);
      const auto& info = block.file->info();
      blocks.push_back({must(read_range(block.file->stored(), range.offset, range.size)),
                        block.file->raw_size(block.number), info.algorithm, info.verify});
    }
  }
  std::size_t i = 0;
  for (auto _ : state)
    for (const Stored& block : stored[i++ % stored.size()])
      if (!zfile::decode_block(block.algorithm, block.verify, block.bytes, std::span(out).first(block.raw)))
        return state.SkipWithError("a block is damaged");
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(size.value));
}

}  // namespace
}  // namespace dadi::runtime

int main(int argc, char** argv) {
  using namespace dadi::runtime;
  benchmark::Initialize(&argc, argv);
  if (argc < 2) {
    std::fprintf(stderr, "usage: bench_decode [--benchmark_…] LAYER…   (block layers, bottom first)\n");
    return 2;
  }
  const Image image = open_image({argv + 1, argv + argc});
  struct Row {
    const char* name;
    dadi::Bytes size;
    std::vector<Read> reads;
  };
  const Row rows[] = {{"4KiB", {4096}, random_reads(image, {4096}, 100000)},
                      {"1MiB", {1U << 20}, random_reads(image, {1U << 20}, 100)}};
  for (const Row& row : rows) {
    if (row.reads.empty()) continue;
    const auto add = [&](const char* what, auto run) {
      benchmark::RegisterBenchmark(fmt::format("{}/{}", what, row.name).c_str(), run);
    };
    add("codec", [&](benchmark::State& state) { codec(state, row.reads, row.size); });
    add("device/memory", [&](benchmark::State& state) { device(state, *image.in_memory, row.reads, row.size); });
    add("device/files", [&](benchmark::State& state) { device(state, *image.in_files, row.reads, row.size); });
  }
  benchmark::RunSpecifiedBenchmarks();
}
