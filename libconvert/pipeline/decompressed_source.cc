#include "libconvert/pipeline/decompressed_source.h"

#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "libformat/base/bytes.h"

namespace dadi::pipeline {

namespace {

constexpr std::size_t kMost = std::size_t{1} << 30;  // at a time: the library counts in 32 bits

// The compressed bytes, with those in front that were looked at to tell the format.
class Input {
 public:
  explicit Input(std::unique_ptr<ByteSource> source) : source_(std::move(source)) {}

  // Bytes that are not consumed yet; none at the end.
  Result<std::span<const std::byte>> peek() {
    if (left_.empty() && !ended_) {
      DADI_TRY(left_, source_->next());
      ended_ = left_.empty();
    }
    return left_;
  }
  void consume(std::size_t count) { left_ = left_.subspan(count); }

  // The first bytes of the stream, at most four. Call first.
  Result<std::span<const std::byte>> magic() {
    while (head_.size() < 4) {
      DADI_TRY(const auto piece, source_->next());
      if (piece.empty()) break;
      head_.insert(head_.end(), piece.begin(), piece.end());
    }
    left_ = head_;
    return left_.first(std::min<std::size_t>(left_.size(), 4));
  }

 private:
  std::unique_ptr<ByteSource> source_;
  std::vector<std::byte> head_;
  std::span<const std::byte> left_;
  bool ended_ = false;
};

class PlainSource final : public DecompressedSource {
 public:
  explicit PlainSource(Input input) : input_(std::move(input)) {}

  Result<std::size_t> read(std::span<std::byte> out) override {
    std::size_t filled = 0;
    while (filled < out.size()) {
      DADI_TRY(auto piece, input_.peek());
      if (piece.empty()) break;
      piece = piece.first(std::min(piece.size(), out.size() - filled));
      std::memcpy(out.data() + filled, piece.data(), piece.size());
      filled += piece.size();
      input_.consume(piece.size());
    }
    return filled;
  }
  std::string_view compression() const override { return "none"; }

 private:
  Input input_;
};

class GzipSource final : public DecompressedSource {
 public:
  explicit GzipSource(Input input) : input_(std::move(input)), state_(std::make_unique<inflate_state>()) {
    isal_inflate_init(state_.get());
    begin_member();
  }

  Result<std::size_t> read(std::span<std::byte> out) override {
    out = out.first(std::min(out.size(), kMost));
    state_->next_out = reinterpret_cast<std::uint8_t*>(out.data());
    state_->avail_out = static_cast<std::uint32_t>(out.size());
    while (state_->avail_out > 0) {
      DADI_TRY(const auto in, input_.peek());
      if (state_->block_state == ISAL_BLOCK_FINISH) {
        if (in.empty()) break;
        if (all_zero(in)) {  // padding, as tape tools leave it
          input_.consume(in.size());
          padded_ = true;
          continue;
        }
        if (padded_) return Error::corruption("gzip: something else follows the compressed data");
        isal_inflate_reset(state_.get());
        begin_member();
      }
      const std::uint32_t room = state_->avail_out;
      const auto part = in.first(std::min(in.size(), kMost));
      // The library does not write to its input, though it does not say so.
      state_->next_in = const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(part.data()));
      state_->avail_in = static_cast<std::uint32_t>(part.size());
      DADI_CHECK(in_header_ ? read_header() : inflate());
      input_.consume(part.size() - state_->avail_in);
      if (in.empty() && state_->avail_out == room && state_->block_state != ISAL_BLOCK_FINISH)
        return Error::corruption("gzip: the compressed data is cut short");
    }
    return out.size() - state_->avail_out;
  }
  std::string_view compression() const override { return "gzip"; }

 private:
  void begin_member() {
    isal_gzip_header_init(&header_);
    in_header_ = true;
    state_->crc_flag = ISAL_GZIP_NO_HDR_VER;
  }

  // A member's header, or as much of it as has come. isal_inflate could do it too, but forgets where it was when a
  // header comes in several pieces (version 2.30).
  Result<void> read_header() {
    const int code = isal_read_gzip_header(state_.get(), &header_);
    if (code != ISAL_DECOMP_OK && code != ISAL_END_INPUT)
      return Error::corruption("gzip: a member's header is damaged (code {})", code);
    in_header_ = code == ISAL_END_INPUT;
    return {};
  }

  Result<void> inflate() {
    if (const int code = isal_inflate(state_.get()); code < 0 || code == ISAL_NEED_DICT)
      return Error::corruption("gzip: the compressed data is damaged (code {})", code);
    return {};
  }

  Input input_;
  std::unique_ptr<inflate_state> state_;
  isal_gzip_header header_{};
  bool in_header_ = true;
  bool padded_ = false;
};

class ZstdSource final : public DecompressedSource {
 public:
  explicit ZstdSource(Input input) : input_(std::move(input)), stream_(ZSTD_createDStream()) {}

  Result<std::size_t> read(std::span<std::byte> into) override {
    ZSTD_outBuffer out{into.data(), into.size(), 0};
    while (out.pos < out.size) {
      DADI_TRY(const auto piece, input_.peek());
      ZSTD_inBuffer in{piece.data(), piece.size(), 0};
      const std::size_t before = out.pos;
      const std::size_t code = ZSTD_decompressStream(stream_.get(), &out, &in);
      if (ZSTD_isError(code) != 0) return Error::corruption("zstd: {}", ZSTD_getErrorName(code));
      input_.consume(in.pos);
      if (in.pos > 0 || out.pos > before) within_frame_ = code != 0;
      if (!piece.empty()) continue;
      if (out.pos > before) continue;
      if (within_frame_) return Error::corruption("zstd: the compressed data is cut short");
      break;
    }
    return out.pos;
  }
  std::string_view compression() const override { return "zstd"; }

 private:
  struct Free {
    void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
  };
  Input input_;
  std::unique_ptr<ZSTD_DStream, Free> stream_;
  bool within_frame_ = false;
};

bool starts_with(std::span<const std::byte> bytes, std::initializer_list<unsigned> magic) {
  if (bytes.size() < magic.size()) return false;
  return std::equal(magic.begin(), magic.end(), bytes.begin(),
                    [](unsigned want, std::byte have) { return std::byte(want) == have; });
}

bool is_zstd(std::span<const std::byte> magic) {
  const bool skippable = magic.size() == 4 && (std::to_integer<unsigned>(magic[0]) & 0xF0) == 0x50 &&
                         starts_with(magic.subspan(1), {0x2A, 0x4D, 0x18});
  return skippable || starts_with(magic, {0x28, 0xB5, 0x2F, 0xFD});
}

}  // namespace

Result<std::unique_ptr<DecompressedSource>> DecompressedSource::open(std::unique_ptr<ByteSource> compressed) {
  Input input(std::move(compressed));
  DADI_TRY(const auto magic, input.magic());
  if (starts_with(magic, {0x1F, 0x8B})) return std::unique_ptr<DecompressedSource>(new GzipSource(std::move(input)));
  if (is_zstd(magic)) return std::unique_ptr<DecompressedSource>(new ZstdSource(std::move(input)));
  return std::unique_ptr<DecompressedSource>(new PlainSource(std::move(input)));
}

}  // namespace dadi::pipeline
