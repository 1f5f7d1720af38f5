#include "apps/image/trace_origin.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>

#include "libconvert/oci/converted.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

using Json = nlohmann::ordered_json;

constexpr Bytes kLargest{1U << 20};  // with room for more layers than a device has

std::string json_of(std::span<const std::byte> trace, const TraceOrigin& origin) {
  Json json{{"trace", Digest::of(trace).to_string()}, {"image", origin.image.to_string()}, {"layers", Json::array()}};
  for (const Digest& layer : origin.layers) json["layers"].push_back(layer.to_string());
  return json.dump() + "\n";
}

Result<std::optional<TraceOrigin>> parse(std::span<const std::byte> bytes, std::span<const std::byte> trace) try {
  const Json json = Json::parse(as_text(bytes));
  DADI_TRY(const Digest of, Digest::parse(json.at("trace").get<std::string>()));
  if (of != Digest::of(trace)) return std::optional<TraceOrigin>();
  DADI_TRY(const Digest image, Digest::parse(json.at("image").get<std::string>()));
  TraceOrigin origin{image, {}};
  for (const Json& layer : json.at("layers")) {
    DADI_TRY(const Digest digest, Digest::parse(layer.get<std::string>()));
    origin.layers.push_back(digest);
  }
  return std::optional(std::move(origin));
} catch (const Json::exception& error) {
  return Error::corruption("{}", error.what());
}

}  // namespace

TraceOrigin origin_of(const oci::SelectedImage& image) {
  TraceOrigin origin{image.descriptor.digest, {}};
  for (const oci::Descriptor& layer : image.manifest.layers)
    if (oci::form_of(layer) != oci::LayerForm::kAcceleration) origin.layers.push_back(layer.digest);
  return origin;
}

std::filesystem::path origin_path(std::filesystem::path trace) {
  return trace += ".image";
}

Result<std::uint64_t> write_trace(const std::filesystem::path& path, std::span<const trace::Read> reads,
                                  const std::optional<TraceOrigin>& origin) {
  DADI_TRY(const auto data, trace::encode(reads));
  DADI_CHECK(replace_file(path, data));
  const std::filesystem::path beside = origin_path(path);
  if (origin) {
    DADI_CHECK(replace_file(beside, as_bytes(json_of(data, *origin))));
  } else if (::unlink(beside.c_str()) != 0 && errno != ENOENT) {
    return Error::from_errno(errno, beside.string());
  }
  return (data.size() - trace::kHeaderSize) / trace::kReadSize;
}

Result<std::optional<TraceOrigin>> read_origin(const std::filesystem::path& trace, std::span<const std::byte> data) {
  const std::string beside = origin_path(trace).string();
  const auto file = FileBlob::open(beside);
  if (!file && file.error().code() == ErrorCode::kNotFound) return std::optional<TraceOrigin>();
  if (!file) return file.error();
  if ((*file)->size() > kLargest) return Error::corruption("{} has {} bytes", beside, (*file)->size().value);
  DADI_TRY(const auto bytes, read_range(**file, {0}, (*file)->size()));
  return parse(bytes, data).context("{}", beside);
}

MovedTrace moved(std::span<const trace::Read> reads, const TraceOrigin& from, const TraceOrigin& to) {
  std::vector<std::optional<std::uint32_t>> places(from.layers.size());
  for (std::size_t i = 0; i < from.layers.size(); ++i) {
    const bool stays = i < to.layers.size() && to.layers[i] == from.layers[i];
    const auto at =
        stays ? to.layers.begin() + static_cast<std::ptrdiff_t>(i) : std::ranges::find(to.layers, from.layers[i]);
    if (at != to.layers.end()) places[i] = static_cast<std::uint32_t>(at - to.layers.begin());
  }
  MovedTrace result;
  for (const trace::Read& read : reads) {
    if (read.layer < places.size() && places[read.layer]) {
      result.reads.push_back({*places[read.layer], read.offset, read.size});
    } else {
      result.left_out += read.size;
    }
  }
  return result;
}

}  // namespace dadi
