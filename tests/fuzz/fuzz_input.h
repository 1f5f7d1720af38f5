// What the fuzz targets share: taking an input apart, and saying that what must hold does not.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "libformat/base/bytes.h"
#include "libformat/base/result.h"

// Runs a target on one input, as libFuzzer and the replaying main call it; it returns 0, or ends the process.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace dadi::fuzz {

// An input, taken apart from its front. Past its end there are zeros, so that every input means something.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : rest_(std::as_bytes(std::span(data, size))) {}

  template <std::unsigned_integral T>
  T number() {
    T value = 0;
    const auto raw = bytes(sizeof value);
    if (!raw.empty()) std::memcpy(&value, raw.data(), raw.size());
    return value;
  }
  std::uint8_t byte() { return number<std::uint8_t>(); }

  // `size` bytes, or as many as there are.
  std::span<const std::byte> bytes(std::size_t size) {
    const auto taken = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::span<const std::byte> rest() { return bytes(rest_.size()); }
  std::string_view text(std::size_t size) { return as_text(bytes(size)); }

  bool empty() const { return rest_.empty(); }

 private:
  std::span<const std::byte> rest_;
};

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "DOES NOT HOLD: %s\n", what.c_str());
  std::abort();
}

inline void require(bool holds, std::string_view what) {
  if (!holds) fail(std::string(what));
}

// The value of what cannot have failed.
template <typename T>
T must(Result<T> result, std::string_view what) {
  if (!result) fail(std::string(what) + ": " + result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace dadi::fuzz
