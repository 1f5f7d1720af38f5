#include "libfs/writer/block_store.h"

#include <lz4.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <span>

#include "libformat/base/endian.h"

namespace dadi::fs {

namespace {

constexpr std::size_t kLength = 2;
constexpr int kAcceleration = 4;  // several times as fast, and zeros pack as well

const char* as_chars(const std::byte* bytes) {
  return reinterpret_cast<const char*>(bytes);
}
char* as_chars(std::byte* bytes) {
  return reinterpret_cast<char*>(bytes);
}

}  // namespace

void BlockStore::put(std::uint64_t number, const Block& block) {
  std::array<std::byte, kBlockSize> buffer;
  const int packed =
      LZ4_compress_fast(as_chars(block.data()), as_chars(buffer.data()), kBlockSize, kBlockSize - 1, kAcceleration);
  const std::size_t length = packed > 0 ? static_cast<std::size_t>(packed) : kBlockSize;
  auto stored = std::make_unique_for_overwrite<std::byte[]>(kLength + length);
  store_le(std::span(stored.get(), kLength), 0, static_cast<std::uint16_t>(length));
  std::memcpy(stored.get() + kLength, packed > 0 ? buffer.data() : block.data(), length);
  blocks_[number] = std::move(stored);
}

bool BlockStore::get(std::uint64_t number, Block& out) const {
  const auto found = blocks_.find(number);
  if (found == blocks_.end()) return false;
  const std::byte* stored = found->second.get();
  const std::size_t length = load_le<std::uint16_t>(std::span(stored, kLength), 0);
  if (length == kBlockSize) {
    std::memcpy(out.data(), stored + kLength, kBlockSize);
  } else {
    [[maybe_unused]] const int size =
        LZ4_decompress_safe(as_chars(stored + kLength), as_chars(out.data()), static_cast<int>(length), kBlockSize);
    assert(size == static_cast<int>(kBlockSize));
  }
  return true;
}

void BlockStore::take(std::uint64_t number, BlockStore& other) {
  const auto found = other.blocks_.find(number);
  assert(found != other.blocks_.end());
  blocks_[number] = std::move(found->second);
  other.blocks_.erase(found);
}

void BlockStore::erase(BlockRange range) {
  if (range.count < blocks_.size()) {
    for (std::uint64_t i = 0; i < range.count; ++i) blocks_.erase(range.start + i);
  } else {
    std::erase_if(blocks_, [&](const auto& each) { return each.first - range.start < range.count; });
  }
}

void BlockStore::merge(BlockStore&& other) {
  for (auto& [number, packed] : other.blocks_) blocks_[number] = std::move(packed);
  other.blocks_.clear();
}

std::vector<std::uint64_t> BlockStore::numbers() const {
  std::vector<std::uint64_t> all;
  all.reserve(blocks_.size());
  for (const auto& [number, packed] : blocks_) all.push_back(number);
  std::ranges::sort(all);
  return all;
}

}  // namespace dadi::fs
