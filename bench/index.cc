// Looking a sector up in a merged index, beside std::lower_bound over the same segments.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>
#include <vector>

#include "libformat/lsmt/merged_index.h"

namespace dadi::lsmt {
namespace {

using Instructions = SearchTree::Instructions;

constexpr std::size_t kQueries = std::size_t{1} << 16;

// `segments` of 8 to 64 sectors, some with gaps between them, by turns in `layers` layers.
std::vector<std::vector<Segment>> make_layers(std::size_t segments, std::size_t layers, std::uint64_t start) {
  std::mt19937_64 random(segments);
  std::vector<std::vector<Segment>> lists(layers);
  Sectors at{start};
  for (std::size_t i = 0; i < segments; ++i) {
    at += Sectors{random() % 2 * 8};
    const Sectors length{8 + random() % 8 * 8};
    lists[i % layers].push_back({.offset = at, .length = length, .moffset = {8 + i * 64}, .zeroed = i % 9 == 0});
    at += length;
  }
  return lists;
}

std::vector<Sectors> make_queries(std::uint64_t begin, std::uint64_t end) {
  std::mt19937_64 random(7);
  std::vector<Sectors> queries(kQueries);
  for (Sectors& query : queries) query = {begin + random() % (end - begin)};
  return queries;
}

// Calls lookup(sector) for random sectors; a time is of one lookup.
template <typename Lookup>
void measure(benchmark::State& state, const std::vector<Sectors>& queries, Lookup lookup) {
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(lookup(queries[i++ % kQueries]));
}

// A segment as the index keeps it: 16 bytes.
struct Packed {
  std::uint64_t low;
  std::uint64_t high;
  std::uint64_t end() const { return (low & kNowhere.value) + (low >> 50); }
};

void lower_bound(benchmark::State& state) {
  const auto start = static_cast<std::uint64_t>(state.range(1));
  std::vector<Packed> segments;
  const auto lists = make_layers(static_cast<std::size_t>(state.range(0)), 1, start);
  for (const Segment& segment : lists[0])
    segments.push_back({segment.offset.value | segment.length.value << 50, segment.moffset.value});
  // The first that ends behind the sector.
  measure(state, make_queries(start, segments.back().end()), [&](Sectors at) {
    return std::lower_bound(segments.begin(), segments.end(), at.value,
                            [](const Packed& segment, std::uint64_t value) { return segment.end() <= value; });
  });
}

void merged_index(benchmark::State& state, Instructions with, std::size_t layers) {
  if (with != Instructions::kPortable && SearchTree::best() != with) {
    state.SkipWithError("this processor has no such instructions");
    return;
  }
  const auto start = static_cast<std::uint64_t>(state.range(1));
  const auto lists = make_layers(static_cast<std::size_t>(state.range(0)), layers, start);
  const Sectors end = lists[(static_cast<std::size_t>(state.range(0)) - 1) % layers].back().end();
  const std::vector<std::span<const Segment>> spans(lists.begin(), lists.end());
  const auto index = MergedIndex::merge(spans, end);
  measure(state, make_queries(start, end.value), [&](Sectors at) { return index->from(at, with); });
}

// Numbers of segments; on a device below 1 TiB and on one beyond.
void sizes(benchmark::internal::Benchmark* benchmark) {
  for (const std::int64_t start : {std::int64_t{0}, std::int64_t{1} << 40})
    for (const std::int64_t segments : {1000, 10000, 100000, 1000000}) benchmark->Args({segments, start});
}

BENCHMARK(lower_bound)->Apply(sizes);
BENCHMARK_CAPTURE(merged_index, avx2_1, Instructions::kAvx2, 1)->Apply(sizes);
BENCHMARK_CAPTURE(merged_index, avx2_100, Instructions::kAvx2, 100)->Apply(sizes);
BENCHMARK_CAPTURE(merged_index, portable_1, Instructions::kPortable, 1)->Apply(sizes);
BENCHMARK_CAPTURE(merged_index, portable_100, Instructions::kPortable, 100)->Apply(sizes);

}  // namespace
}  // namespace dadi::lsmt

BENCHMARK_MAIN();
