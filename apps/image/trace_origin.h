// Which image a trace was recorded on. The format of traces has no room for that, and readers that refuse a file with
// anything behind it, so it is kept beside the file, in NAME.image:
//
//   {"trace": digest of the file, "image": of the manifest, "layers": of the block layers' blobs, bottom first}
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "libconvert/oci/image.h"
#include "libformat/base/digest.h"
#include "libformat/trace/trace.h"

namespace dadi {

// A value type.
struct TraceOrigin {
  Digest image;                // its manifest
  std::vector<Digest> layers;  // bottom first, as reads number them
};

TraceOrigin origin_of(const oci::SelectedImage& image);

// NAME.image.
std::filesystem::path origin_path(std::filesystem::path trace);

// Writes a trace, and beside it where it is from, or nothing; files that are there are replaced or removed. How many
// reads are in it. Errors: those of encode() and of writing.
Result<std::uint64_t> write_trace(const std::filesystem::path& path, std::span<const trace::Read> reads,
                                  const std::optional<TraceOrigin>& origin);

// Where the trace is from whose file has these bytes; none if nothing is beside it, or it is of other bytes.
// Errors: corruption, those of reading.
Result<std::optional<TraceOrigin>> read_origin(const std::filesystem::path& trace, std::span<const std::byte> data);

// A trace of one image as one of another, by the layers that both have, wherever they are in it.
struct MovedTrace {
  std::vector<trace::Read> reads;
  Bytes left_out;  // of layers that the other image does not have
};
MovedTrace moved(std::span<const trace::Read> reads, const TraceOrigin& from, const TraceOrigin& to);

}  // namespace dadi
