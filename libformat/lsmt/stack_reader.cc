#include "libformat/lsmt/stack_reader.h"

#include <algorithm>
#include <cstring>

namespace dadi::lsmt {

namespace {

using Kind = Extent::Kind;

Result<void> require_within(Sectors at, Sectors length, Sectors size) {
  if (at > size || length > size - at)
    return Error::io("{} sectors at sector {} reach past the device's end, {}", length.value, at.value, size.value);
  return {};
}

// Whether `next` goes on where `piece` ends, on the device and in the layer's file: one read serves both.
bool continues(const MergedIndex::Piece& piece, const MergedIndex::Piece& next) {
  if (piece.kind != next.kind) return false;
  return piece.kind != Kind::kData || (piece.layer == next.layer && piece.moffset + piece.length == next.moffset);
}

}  // namespace

// NOLINTNEXTLINE(performance-unnecessary-value-param): taken over, so that the lists of segments go
Result<std::unique_ptr<StackReader>> StackReader::open(std::vector<LayerReader> layers,
                                                       std::vector<std::string> names) {
  Sectors size{};
  std::vector<std::span<const Segment>> segments;
  std::vector<Layer> named;
  names.resize(layers.size());
  for (const LayerReader& layer : layers) {
    if (layer.info().virtual_size.value > 0) size = whole_sectors(layer.info().virtual_size);
    segments.push_back(layer.segments());
    std::string& name = names[named.size()];
    if (name.empty()) name = fmt::format("layer {}", named.size());
    named.push_back({std::move(name), layer.blob()});
  }
  DADI_TRY(MergedIndex index, MergedIndex::merge(segments, size));
  return std::unique_ptr<StackReader>(new StackReader(std::move(named), std::move(index)));
}

Result<void> StackReader::read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const {
  if (out.size() % kSectorSize != 0) return Error::invalid_argument("a read of {} bytes is not sectors", out.size());
  DADI_CHECK(require_within(at, whole_sectors(out), size()));
  auto cursor = index_.from(at);
  for (const Sectors end = at + whole_sectors(out); at < end;) {
    MergedIndex::Piece piece = cursor.next();
    for (auto ahead = cursor; piece.end() < end; cursor = ahead) {
      const MergedIndex::Piece following = ahead.next();
      if (!continues(piece, following)) break;
      piece.length += following.length;
    }
    piece.length = std::min(piece.length, end - at);
    const auto target = out.first(to_bytes(piece.length).value);
    if (piece.kind == Kind::kData) {
      const Layer& layer = layers_[piece.layer];
      DADI_CHECK(layer.blob->read_at(to_bytes(piece.moffset), target, context).context("{}", layer.name));
    } else {
      std::memset(target.data(), 0, target.size());
    }
    out = out.subspan(target.size());
    at = piece.end();
  }
  return {};
}

Result<Extent> StackReader::next_extent(Sectors at) const {
  DADI_CHECK(require_within(at, {1}, size()));
  auto cursor = index_.from(at);
  const MergedIndex::Piece first = cursor.next();
  Extent extent{first.kind, first.length};
  while (!cursor.at_end()) {
    const MergedIndex::Piece piece = cursor.next();
    if (piece.kind != extent.kind) break;
    extent.length += piece.length;
  }
  return extent;
}

}  // namespace dadi::lsmt
