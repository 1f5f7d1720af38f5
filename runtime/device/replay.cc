#include "runtime/device/replay.h"

#include <algorithm>
#include <tuple>

#include "runtime/parallel.h"

namespace dadi::runtime {

namespace {

constexpr std::size_t kAtOnce = 16;               // pieces
constexpr Bytes kAhead{4U << 20};                 // of what is stored: soon after one another
constexpr Bytes kGap{16U << 10};                  // that is fetched rather than asked around
constexpr std::chrono::seconds kStartGoesOn(10);  // after all of its trace is there
constexpr unsigned kMostFailuresInARow = 16;      // then nobody answers

// Where bytes of a layer are stored. REQUIRES: they are not empty, and within the layer.
StoredPiece stored_piece(const trace::Read& read, const StoredLayer& layer) {
  if (!layer.blocks) return {read.layer, read.offset, read.size};
  const std::uint64_t block_size = layer.blocks->info().block_size;
  const auto first = layer.blocks->stored_range(read.offset.value / block_size);
  const auto last = layer.blocks->stored_range((read.end().value - 1) / block_size);
  return {read.layer, first.offset, last.offset + last.size - first.offset};
}

// Appends pieces that lie near each other as one.
void append_joined(std::vector<StoredPiece>& window, std::vector<StoredPiece>& to) {
  std::ranges::sort(window, {}, [](const StoredPiece& piece) { return std::tuple(piece.layer, piece.offset); });
  const std::size_t before = to.size();
  for (const StoredPiece& piece : window) {
    const Bytes end = piece.offset + piece.size;
    if (to.size() > before && to.back().layer == piece.layer) {
      StoredPiece& last = to.back();
      const Bytes joined = std::max(last.offset + last.size, end) - last.offset;
      if (piece.offset <= last.offset + last.size + kGap && joined <= trace::kLongestRead) {
        last.size = joined;
        continue;
      }
    }
    to.push_back(piece);
  }
  window.clear();
}

}  // namespace

std::vector<StoredPiece> plan_replay(std::span<const trace::Read> reads, std::span<const StoredLayer> layers,
                                     Bytes budget) {
  std::vector<StoredPiece> pieces;
  std::vector<StoredPiece> window;
  Bytes in_window{};
  Bytes left = budget;
  for (trace::Read read : trace::without_repeats({reads.begin(), reads.end()})) {
    if (read.layer >= layers.size()) continue;
    const StoredLayer& layer = layers[read.layer];
    const Bytes size = layer.blocks ? layer.blocks->size() : layer.plain->size();
    if (read.offset >= size) continue;
    for (Bytes end = std::min(read.end(), size); read.offset < end && left.value > 0;) {
      read.size = std::min(end - read.offset, trace::kLongestRead);
      window.push_back(stored_piece(read, layer));
      read.offset += read.size;
      left -= std::min(left, window.back().size);
      in_window += window.back().size;
      if (in_window < kAhead) continue;
      append_joined(window, pieces);
      in_window = {};
    }
  }
  append_joined(window, pieces);
  return pieces;
}

Replay::Replay(std::shared_ptr<const ImageDevice> device, Source source, Bytes budget)
    : device_(std::move(device)),
      thread_([this, source = std::move(source), budget](const std::stop_token& stop) { run(stop, source, budget); }) {}

void Replay::run(const std::stop_token& stop, const Source& source, Bytes budget) {
  const auto reads = source(stop);
  if (!reads) {
    start_ends_ = Time::min();
    return;
  }
  const std::span<const StoredLayer> layers = device_->stored_layers();
  const std::vector<StoredPiece> pieces = plan_replay(*reads, layers, budget);
  for (const StoredPiece& piece : pieces) planned_ += piece.size.value;
  found_ = true;
  const ReadContext context{.stop = stop, .read_class = ReadClass::kPrefetch, .exact = true};
  WorkerPool pool("dadi-replay", kAtOnce);
  for_each_in_parallel(pool, kAtOnce - 1, pieces.size(), [&](std::size_t i) {
    if (stop.stop_requested() || in_a_row_ >= kMostFailuresInARow) return;
    const StoredPiece& piece = pieces[i];
    const StoredLayer& layer = layers[piece.layer];
    const BlobReader& blob = layer.blocks ? layer.blocks->stored() : *layer.plain;
    const auto scratch = std::make_unique_for_overwrite<std::byte[]>(piece.size.value);
    if (layer.account) layer.account->fetching(piece.offset, piece.size);
    if (blob.read_at(piece.offset, {scratch.get(), piece.size.value}, context)) {
      if (layer.account) layer.account->fetched(piece.offset, piece.size);
      fetched_ += piece.size.value;
      in_a_row_ = 0;
    } else {
      ++failures_;
      ++in_a_row_;
    }
  });
  start_ends_ = std::chrono::steady_clock::now() + kStartGoesOn;
}

std::optional<Replay::Stats> Replay::stats() const {
  if (!found_) return {};
  Stats stats{{planned_}, {fetched_}, failures_, {}};
  for (const StoredLayer& layer : device_->stored_layers())
    if (layer.account) stats.use += layer.account->sums();
  return stats;
}

}  // namespace dadi::runtime
