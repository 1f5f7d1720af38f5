#include "apps/dadi/traced_files.h"

#include <algorithm>

namespace dadi {
namespace {

constexpr std::string_view kFileSystem = "(file system)";
constexpr std::string_view kLayerIndex = "(headers and indexes of layers)";
constexpr std::string_view kNowhere = "(nothing: the trace is of another image)";

}  // namespace

Result<TracedFiles> TracedFiles::open(Session& session, const ImageOptions& options) {
  DADI_TRY(BlockImage image, open_block_image(session, options));
  TracedPlaces places(image.layers);
  std::vector<std::string> names;
  for (const BlockLayer& layer : image.layers) names.push_back(layer.name);
  DADI_TRY(const auto device, stack(std::move(image.layers)));
  DADI_TRY(const auto volume, fs::Volume::open(device));
  DADI_TRY(fs::FileMap map, fs::FileMap::make(*volume, session.stop()));
  return TracedFiles(std::move(names), std::move(places), std::move(map));
}

void TracedFiles::visit(const trace::Read& read, const std::function<void(const Piece&)>& visitor) const {
  places_.visit(read, [&](const TracedPlaces::Piece& piece) {
    if (piece.kind != TracedPlaces::Kind::kDevice) {
      return visitor({piece.kind == TracedPlaces::Kind::kAround ? kLayerIndex : kNowhere, std::nullopt, piece.size});
    }
    for (Bytes done; done < piece.size;) {
      const Bytes at = piece.at + done;
      const auto place = map_.at(at);
      const Bytes size = std::min(piece.size - done, place.end - at);
      visitor({place.path.empty() ? kFileSystem : place.path, at, size});
      done += size;
    }
  });
}

}  // namespace dadi
