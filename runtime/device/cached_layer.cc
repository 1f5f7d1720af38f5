#include "runtime/device/cached_layer.h"

#include <algorithm>
#include <cstring>

#include "runtime/device/read_limits.h"

namespace dadi::runtime {

namespace {

constexpr std::uint64_t kWindow = std::uint64_t{1} << 20;  // bytes of blocks that are fetched at once
// From memory it is less, so that what was copied is still in a core's cache when it is decompressed.
constexpr std::uint64_t kFromMemory = std::uint64_t{64} << 10;

}  // namespace

CachedLayer::CachedLayer(std::shared_ptr<const zfile::Reader> blocks, BlockCache& cache, std::size_t layer)
    : blocks_(std::move(blocks)),
      cache_(cache),
      layer_(layer),
      block_size_(blocks_->info().block_size),
      window_blocks_(std::clamp<std::uint64_t>(kWindow / block_size_, 1, kMostBlocks)),
      memory_blocks_(std::clamp<std::uint64_t>(kFromMemory / block_size_, 1, kMostBlocks)) {}

Result<void> CachedLayer::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const {
  if (offset > size() || out.size() > (size() - offset).value)
    return Error::corruption("zfile: {} bytes at offset {} reach past the end, {}", out.size(), offset.value,
                             size().value);
  while (!out.empty()) {
    Window window = window_at(offset, out);
    DADI_CHECK(fill(window, context));
    out = out.subspan(window.out.size());
    offset += Bytes{window.out.size()};
  }
  return {};
}

// As much of a read as a window takes. REQUIRES: out is not empty.
CachedLayer::Window CachedLayer::window_at(Bytes offset, std::span<std::byte> out) const {
  Window window{.offset = offset, .out = out, .first = offset.value / block_size_};
  const std::uint64_t end = divide_up(offset.value + out.size(), block_size_);
  window.blocks = std::min(end - window.first, window_blocks_);
  const std::uint64_t room = (window.first + window.blocks) * block_size_ - offset.value;
  window.out = out.first(std::min<std::uint64_t>(out.size(), room));
  for (std::uint64_t i = 0; i < window.blocks; ++i) window.missing.set(i);
  return window;
}

CachedLayer::Part CachedLayer::part_of(const Window& window, std::uint64_t block) const {
  const std::uint64_t begin = block * block_size_;
  const std::uint64_t from = std::max(begin, window.offset.value);
  const std::uint64_t to = std::min(begin + blocks_->raw_size(block), window.offset.value + window.out.size());
  return {from - begin, window.out.subspan(from - window.offset.value, to - from)};
}

// The first missing blocks that lie next to each other, `most` at most. REQUIRES: some are missing.
Fetches::Range CachedLayer::next_run(const Window& window, std::uint64_t most) {
  std::uint64_t begin = 0;
  while (!window.missing[begin]) ++begin;
  std::uint64_t end = begin + 1;
  while (end < window.blocks && end - begin < most && window.missing[end]) ++end;
  return {window.first + begin, window.first + end - 1};
}

Result<void> CachedLayer::fill(Window& window, const ReadContext& context) const {
  fill_from_cache(window);
  const auto result = fill_from_memory(window, context);
  if (result) return result;
  // What is damaged in memory may be sound where it came from.
  const bool damaged = result.error().code() == ErrorCode::kCorruption;
  if (!damaged && result.error().code() != ErrorCode::kWouldBlock) return result;
  if (context.memory_only) return Error::would_block("not in memory");
  return fill_by_waiting(window, context);
}

void CachedLayer::fill_from_cache(Window& window) const {
  for (std::uint64_t i = 0; i < window.blocks; ++i) {
    if (!window.missing[i]) continue;
    const std::uint64_t block = window.first + i;
    const Part part = part_of(window, block);
    if (cache_.read({layer_, block}, part.skip, part.target)) window.missing.reset(i);
  }
}

Result<void> CachedLayer::fill_from_memory(Window& window, const ReadContext& context) const {
  ReadContext memory = context;
  memory.memory_only = true;
  while (window.missing.any())
    DADI_CHECK(fetch(window, next_run(window, memory_blocks_), memory, BlockCache::Worth::kDecoding));
  return {};
}

Result<void> CachedLayer::fill_by_waiting(Window& window, const ReadContext& context) const {
  bool patient = true;
  while (window.missing.any()) {
    DADI_CHECK(still_wanted(context));
    const Fetches::Range run = next_run(window, kMostBlocks);
    if (patient) {
      DADI_TRY(const bool others, fetches_.wait_for_others(run, context));
      if (others) {
        fill_from_cache(window);
        patient = false;  // what they did not bring, no matter why, is fetched now
        continue;
      }
    }
    const auto fetching = fetches_.begin(run);
    auto fetched = fetch(window, run, context, BlockCache::Worth::kWaiting);
    if (!fetched && fetched.error().code() == ErrorCode::kCorruption) {
      ReadContext again = context;
      again.anew = true;
      fetched = fetch(window, run, again, BlockCache::Worth::kWaiting);
    }
    DADI_CHECK(std::move(fetched));
    patient = true;
  }
  return {};
}

// Fills in a run of blocks with one read of the blob.
Result<void> CachedLayer::fetch(Window& window, Fetches::Range run, const ReadContext& context,
                                BlockCache::Worth worth) const {
  const Bytes start = blocks_->stored_range(run.first).offset;
  const auto last = blocks_->stored_range(run.last);
  const std::size_t size = (last.offset + last.size - start).value;
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(size);
  const std::span<std::byte> stored(buffer.get(), size);
  DADI_CHECK(blocks_->stored().read_at(start, stored, context));
  for (std::uint64_t block = run.first; block <= run.last; ++block) {
    const auto range = blocks_->stored_range(block);
    DADI_CHECK(decode(window, block, stored.subspan((range.offset - start).value, range.size.value), worth));
    window.missing.reset(block - window.first);
  }
  return {};
}

Result<void> CachedLayer::decode(const Window& window, std::uint64_t block, std::span<const std::byte> stored,
                                 BlockCache::Worth worth) const {
  const Part part = part_of(window, block);
  const std::size_t size = blocks_->raw_size(block);
  if (part.target.size() == size) {
    DADI_CHECK(blocks_->decode(block, stored, part.target));
    cache_.offer({layer_, block}, part.target, worth);
    return {};
  }
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(size);
  const std::span<std::byte> whole(buffer.get(), size);
  DADI_CHECK(blocks_->decode(block, stored, whole));
  std::memcpy(part.target.data(), whole.data() + part.skip, part.target.size());
  cache_.offer({layer_, block}, whole, BlockCache::Worth::kWaiting);  // its other bytes are likely wanted next
  return {};
}

}  // namespace dadi::runtime
