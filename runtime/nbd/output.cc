#include "runtime/nbd/output.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace dadi::nbd {
namespace {

constexpr std::size_t kBlock = 256 << 10;  // bytes, for small replies
constexpr std::size_t kMostPieces = 64;    // of one call to the kernel

}  // namespace

std::span<std::byte> Output::append(std::size_t size) {
  const auto end = [](const Entry& entry) { return entry.parts.back().offset + entry.parts.back().size; };
  if (entries_.empty() || !entries_.back().open || entries_.back().memory.size() - end(entries_.back()) < size) {
    Buffer buffer = spare_->take(std::max(size, kBlock));
    if (buffer.size() == 0) throw std::bad_alloc();
    const auto memory = buffer.bytes();
    held_ += buffer.size();
    entries_.push_back({.buffer = std::move(buffer), .memory = memory, .parts = {{0, 0}}, .first = 0, .open = true});
  }
  Entry& entry = entries_.back();
  const auto room = entry.memory.subspan(end(entry), size);
  entry.parts.back().size += size;
  pending_ += size;
  return room;
}

void Output::append(std::span<const std::byte> data) {
  if (!data.empty()) std::memcpy(append(data.size()).data(), data.data(), data.size());
}

void Output::take_back(std::size_t size) {
  Entry& last = entries_.back();
  last.parts.back().size -= size;
  pending_ -= size;
  if (last.parts.back().size > 0) return;
  held_ -= last.buffer.size();
  spare_->give(std::move(last.buffer));
  entries_.pop_back();
}

void Output::push(std::span<std::byte> memory, std::vector<Part> parts) {
  for (const Part& part : parts) pending_ += part.size;
  entries_.push_back({.buffer = {}, .memory = memory, .parts = std::move(parts), .first = 0, .open = false});
}

void Output::push(Buffer buffer, std::vector<Part> parts) {
  push(buffer.bytes(), std::move(parts));
  held_ += buffer.size();
  entries_.back().buffer = std::move(buffer);
}

std::span<const iovec> Output::next() {
  next_.clear();
  for (Entry& entry : entries_) {
    for (std::size_t i = entry.first; i < entry.parts.size(); ++i) {
      if (next_.size() == kMostPieces) return next_;
      const auto piece = entry.memory.subspan(entry.parts[i].offset, entry.parts[i].size);
      if (!piece.empty()) next_.push_back({piece.data(), piece.size()});
    }
  }
  return next_;
}

void Output::sent(std::size_t size) {
  pending_ -= size;
  while (!entries_.empty()) {
    Entry& entry = entries_.front();
    for (; entry.first < entry.parts.size(); ++entry.first) {
      Part& part = entry.parts[entry.first];
      const std::size_t piece = std::min(size, part.size);
      part.offset += piece;
      part.size -= piece;
      size -= piece;
      if (part.size > 0) return;
    }
    held_ -= entry.buffer.size();
    spare_->give(std::move(entry.buffer));
    entries_.pop_front();
  }
}

}  // namespace dadi::nbd
