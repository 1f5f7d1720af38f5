#include "libformat/base/digest.h"

// The functions of SHA-256 themselves. The generic ones, which OpenSSL 3 would rather see, first make tables of all
// that its providers can: milliseconds, in which a whole device is made.
#define OPENSSL_API_COMPAT 0x10100000L
#include <openssl/sha.h>

namespace dadi {

namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

Result<Digest> Digest::parse(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix)) {
    if (text.starts_with("sha512:") || text.starts_with("blake3:"))
      return Error::unsupported("digest algorithm of \"{}\"", text.substr(0, 80));
    return Error::invalid_argument("\"{}\" is not a digest", text.substr(0, 80));
  }
  const std::string_view hex = text.substr(kPrefix.size());
  if (hex.size() != 2 * kSize) return Error::invalid_argument("\"{}\" is not a digest", text.substr(0, 80));
  std::array<std::byte, kSize> raw{};
  for (std::size_t i = 0; i < kSize; ++i) {
    const int high = hex_value(hex[2 * i]);
    const int low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return Error::invalid_argument("\"{}\" is not a digest", text.substr(0, 80));
    raw[i] = static_cast<std::byte>(high * 16 + low);
  }
  return Digest(raw);
}

Digest Digest::of(std::span<const std::byte> data) {
  Hasher hasher;
  hasher.update(data);
  return hasher.finish();
}

std::string Digest::hex() const {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte value : raw_) {
    text += kDigits[std::to_integer<unsigned>(value) >> 4];
    text += kDigits[std::to_integer<unsigned>(value) & 15];
  }
  return text;
}

// Its functions fail never.
struct Hasher::State {
  SHA256_CTX context;
  State() { SHA256_Init(&context); }
};

Hasher::Hasher() : state_(std::make_unique<State>()) {}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::update(std::span<const std::byte> data) {
  SHA256_Update(&state_->context, data.data(), data.size());
}

Digest Hasher::finish() {
  std::array<std::byte, Digest::kSize> raw{};
  SHA256_Final(reinterpret_cast<unsigned char*>(raw.data()), &state_->context);
  SHA256_Init(&state_->context);
  return Digest(raw);
}

}  // namespace dadi
