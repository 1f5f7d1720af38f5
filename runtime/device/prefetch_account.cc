#include "runtime/device/prefetch_account.h"

#include <algorithm>

namespace dadi::runtime {
namespace {

constexpr std::uint64_t kUncompressedBlock = 4096;
constexpr std::uint64_t kWordBits = 64;

}  // namespace

PrefetchAccount::PrefetchAccount(std::shared_ptr<const zfile::Reader> blocks, Bytes size)
    : blocks_(std::move(blocks)),
      size_(size),
      block_size_(blocks_ ? blocks_->info().block_size : kUncompressedBlock),
      count_(blocks_ ? blocks_->info().blocks : divide_up(size.value, kUncompressedBlock)),
      asked_(divide_up(count_, kWordBits)),
      ahead_(asked_.size()),
      fetched_(asked_.size()) {}

void PrefetchAccount::set(Bits& bits, std::uint64_t number) {
  std::atomic<std::uint64_t>& word = bits[number / kWordBits];
  const std::uint64_t bit = std::uint64_t{1} << number % kWordBits;
  if ((word.load(std::memory_order_relaxed) & bit) == 0) word.fetch_or(bit, std::memory_order_relaxed);
}

bool PrefetchAccount::has(const Bits& bits, std::uint64_t number) {
  return (bits[number / kWordBits].load(std::memory_order_relaxed) >> number % kWordBits & 1) != 0;
}

void PrefetchAccount::asked(Bytes offset, Bytes size) {
  if (size.value == 0 || offset >= size_) return;
  const std::uint64_t end = std::min(count_, divide_up((offset + std::min(size, size_ - offset)).value, block_size_));
  for (std::uint64_t block = offset.value / block_size_; block < end; ++block) set(asked_, block);
}

PrefetchAccount::Blocks PrefetchAccount::stored_blocks(Bytes offset, Bytes size) const {
  const Bytes end = offset + size;
  if (!blocks_) return {offset.value / block_size_, std::min(count_, divide_up(end.value, block_size_))};
  const auto first_at = [&](Bytes at) {
    std::uint64_t before = 0;  // blocks that begin before that
    for (std::uint64_t unknown = count_; unknown > 0;) {
      const std::uint64_t half = unknown / 2;
      const bool is_before = blocks_->stored_range(before + half).offset < at;
      before += is_before ? half + 1 : 0;
      unknown = is_before ? unknown - half - 1 : half;
    }
    return before;
  };
  return {first_at(offset), first_at(end)};
}

void PrefetchAccount::fetching(Bytes offset, Bytes size) {
  const auto [begin, end] = stored_blocks(offset, size);
  for (std::uint64_t block = begin; block < end; ++block)
    if (!has(asked_, block)) set(ahead_, block);
}

void PrefetchAccount::fetched(Bytes offset, Bytes size) {
  const auto [begin, end] = stored_blocks(offset, size);
  for (std::uint64_t block = begin; block < end; ++block) set(fetched_, block);
}

Bytes PrefetchAccount::stored_size(std::uint64_t block) const {
  if (blocks_) return blocks_->stored_range(block).size;
  return std::min(Bytes{block_size_}, size_ - Bytes{block * block_size_});
}

PrefetchAccount::Sums PrefetchAccount::sums() const {
  Sums sums;
  for (std::size_t word = 0; word < fetched_.size(); ++word) {
    if (fetched_[word].load(std::memory_order_relaxed) == 0) continue;
    for (std::uint64_t block = word * kWordBits; block < std::min(count_, (word + 1) * kWordBits); ++block) {
      if (!has(fetched_, block)) continue;
      Bytes& sum = !has(asked_, block) ? sums.wasted : has(ahead_, block) ? sums.hits : sums.late;
      sum += stored_size(block);
    }
  }
  return sums;
}

PrefetchAccount::Sums& PrefetchAccount::Sums::operator+=(const Sums& other) {
  hits += other.hits;
  late += other.late;
  wasted += other.wasted;
  return *this;
}

// Before it is read: who waits for a fetch that is on its way has asked.
Result<void> AccountedLayer::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const {
  if (context.read_class == ReadClass::kDemand) account_->asked(offset, {out.size()});
  return layer_->read_at(offset, out, context);
}

}  // namespace dadi::runtime
