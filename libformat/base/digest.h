// Content digests, as registries write them: "sha256:<64 lower-case hex digits>".
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "libformat/base/result.h"

namespace dadi {

// A SHA-256 digest. A value type; ordered, so that it can be a key.
class Digest {
 public:
  static constexpr std::size_t kSize = 32;

  explicit Digest(const std::array<std::byte, kSize>& raw) : raw_(raw) {}

  // From "sha256:…". Errors: invalid_argument (malformed), unsupported (another algorithm).
  static Result<Digest> parse(std::string_view text);
  static Digest of(std::span<const std::byte> data);

  std::string hex() const;
  std::string to_string() const { return "sha256:" + hex(); }
  // "sha256:ab12cd34ef56": enough for people.
  std::string brief() const { return to_string().substr(0, 19); }
  const std::array<std::byte, kSize>& raw() const { return raw_; }

  friend auto operator<=>(const Digest&, const Digest&) = default;

 private:
  std::array<std::byte, kSize> raw_;
};

// Computes a digest piece by piece. One thread at a time.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  void update(std::span<const std::byte> data);
  // The digest of all that was given. The hasher starts anew.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dadi
