#include "libformat/layer_file.h"

#include <array>

#include "libformat/base/bytes.h"
#include "libformat/blob/memory_blob.h"

namespace dadi {

namespace {

// What the bytes are, if not a layer: a name for people.
Error not_a_layer(std::span<const std::byte> head) {
  const std::string_view text = as_text(head);
  if (text.starts_with("\x1f\x8b"))
    return Error::unsupported("gzip: an ordinary layer, or TurboOCI metadata, not a block layer");
  if (text.starts_with("\x28\xb5\x2f\xfd")) return Error::unsupported("zstd: an ordinary layer, not a block layer");
  return Error::corruption("neither a tar envelope, nor a ZFile, nor an LSMT layer");
}

Result<void> require_layer(const BlobReader& blob, const ReadContext& context) {
  std::array<std::byte, lsmt::kMagicSize> raw{};
  const auto head = std::span(raw).first(std::min<std::uint64_t>(raw.size(), blob.size().value));
  DADI_CHECK(blob.read_at({0}, head, context));
  if (!lsmt::has_magic(head)) return not_a_layer(head);
  return {};
}

Result<LayerFile> open(SharedBlob blob, const ReadContext& context) {
  DADI_TRY(const auto envelope, tar_envelope::find_payload(*blob, context));
  if (envelope) blob = std::make_shared<BlobWindow>(std::move(blob), envelope->offset, envelope->size);

  std::optional<zfile::Info> info;
  std::shared_ptr<const zfile::Reader> blocks;
  DADI_TRY(const bool compressed, zfile::is_zfile(*blob, context));
  if (compressed) {
    DADI_TRY(blocks, zfile::Reader::open(std::move(blob), context));
    info = blocks->info();
    blob = blocks;
  }
  DADI_CHECK(require_layer(*blob, context));
  DADI_TRY(lsmt::LayerReader layer, lsmt::LayerReader::open(blob, context));
  return LayerFile{std::move(layer), std::move(blob), envelope, info, std::move(blocks)};
}

}  // namespace

Result<LayerFile> open_layer_file(SharedBlob blob, const ReadContext& context) {
  auto file = open(blob, context);
  if (file || file.error().code() != ErrorCode::kCorruption || context.memory_only) return file;
  ReadContext again = context;
  again.anew = true;
  return open(std::move(blob), again);
}

}  // namespace dadi
