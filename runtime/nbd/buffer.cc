#include "runtime/nbd/buffer.h"

#include <algorithm>
#include <utility>

namespace dadi::nbd {
namespace {

constexpr std::size_t kMostHeld = 4 << 20;  // bytes
constexpr std::size_t kMostSpare = 32;
constexpr std::size_t kRounding = 64 << 10;  // so that requests of about one size share buffers

}  // namespace

Buffer SpareBuffers::take(std::size_t size) {
  const auto fits = [&](const Buffer& buffer) {
    return buffer.size() >= size && buffer.size() / 4 <= size + kRounding;
  };
  const auto found = std::find_if(spare_.rbegin(), spare_.rend(), fits);
  if (found == spare_.rend()) return Buffer((size + kRounding - 1) / kRounding * kRounding);
  std::swap(*found, spare_.back());
  Buffer buffer = std::move(spare_.back());
  spare_.pop_back();
  held_ -= buffer.size();
  return buffer;
}

void SpareBuffers::give(Buffer buffer) {
  if (buffer.size() == 0 || held_ + buffer.size() > kMostHeld || spare_.size() == kMostSpare) return;
  held_ += buffer.size();
  spare_.push_back(std::move(buffer));
}

}  // namespace dadi::nbd
