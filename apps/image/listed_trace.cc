#include "apps/image/listed_trace.h"

#include <algorithm>

#include "libfs/ext4/listed_files.h"

namespace dadi {
namespace {

// Where the bytes of a device are in its layers; what reads as zeros is nowhere.
std::vector<trace::Read> in_layers(const std::vector<fs::DevicePlace>& places, const lsmt::StackReader& device) {
  std::vector<trace::Read> on_device;
  for (const fs::DevicePlace& place : places) on_device.push_back({0, place.at, place.size});
  std::vector<trace::Read> reads;
  // Each byte of the device once: however often files say that they have it, the work is bounded.
  for (const trace::Read& read : trace::without_repeats(on_device)) {
    const Sectors end = std::min(whole_sectors(read.end()), device.size());
    if (whole_sectors(read.offset) >= end) continue;
    for (auto cursor = device.index().from(whole_sectors(read.offset)); !cursor.at_end();) {
      const lsmt::MergedIndex::Piece piece = cursor.next();
      if (piece.at >= end) break;
      if (piece.kind != Extent::Kind::kData) continue;
      const Sectors length = std::min(piece.end(), end) - piece.at;
      reads.push_back({static_cast<std::uint32_t>(piece.layer), to_bytes(piece.moffset), to_bytes(length)});
    }
  }
  return trace::without_repeats(reads);
}

}  // namespace

Result<ListedTrace> trace_of_list(std::vector<BlockLayer> layers, std::string_view list, const std::stop_token& stop) {
  DADI_TRY(const auto device, stack(std::move(layers)));
  DADI_TRY(fs::ListedFiles found, fs::find_listed_files(device, list, stop));
  if (found.lines == found.missing) return Error::not_found("nothing of the list is in the image");
  return ListedTrace{in_layers(found.places, *device), found.missing, std::move(found.examples)};
}

}  // namespace dadi
