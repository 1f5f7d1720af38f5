#include "libfs/model/content_digest.h"

#include <algorithm>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"

namespace dadi::fs {

void ContentDigest::add(Bytes offset, std::span<const std::byte> bytes) {
  std::uint64_t at = offset.value;
  while (!bytes.empty()) {
    const std::uint64_t number = at / kBlock;
    const std::size_t skip = at % kBlock;
    const std::size_t length = std::min(kBlock - skip, bytes.size());
    if (partial_number_ && *partial_number_ != number) flush();
    if (length == kBlock) {
      add_block(number, bytes.first(kBlock));
    } else {
      std::ranges::copy(bytes.first(length), partial_.begin() + static_cast<std::ptrdiff_t>(skip));
      partial_number_ = number;
    }
    at += length;
    bytes = bytes.subspan(length);
  }
}

Digest ContentDigest::finish() {
  flush();
  return hasher_.finish();
}

void ContentDigest::add_block(std::uint64_t number, std::span<const std::byte> block) {
  if (all_zero(block)) return;
  std::array<std::byte, 8> prefix{};
  store_le<std::uint64_t>(prefix, 0, number);
  hasher_.update(prefix);
  hasher_.update(block);
}

void ContentDigest::flush() {
  if (!partial_number_) return;
  add_block(*partial_number_, partial_);
  partial_number_.reset();
  partial_.fill(std::byte{0});
}

}  // namespace dadi::fs
