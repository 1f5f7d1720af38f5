#include "apps/image/writable_place.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

using Json = nlohmann::ordered_json;

constexpr auto kFileName = "image.json";
constexpr Bytes kFileLimit{64U << 20};  // a manifest and a config may be in it
constexpr std::string_view kPrefix = "layer-";
constexpr std::size_t kMostDigits = 9;

Result<std::vector<std::string>> layers_of(const Json& json) try {
  auto layers = json.get<std::vector<std::string>>();
  if (layers.empty()) return Error::corruption("no layer");
  for (const std::string& name : layers) {
    if (name != kThisFolder && !is_layer_name(name)) return Error::corruption("\"{}\" is no layer's name", name);
    if (std::ranges::count(layers, name) > 1) return Error::corruption("layer {} is named twice", name);
  }
  return layers;
} catch (const Json::exception& error) {
  return Error::corruption("layers: {}", error.what());
}

}  // namespace

bool is_layer_name(std::string_view name) {
  if (!name.starts_with(kPrefix)) return false;
  name.remove_prefix(kPrefix.size());
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return !name.empty() && name.size() <= kMostDigits && name.front() != '0' && std::ranges::all_of(name, is_digit);
}

std::string next_layer_name(const WritablePlace& place) {
  unsigned long last = 0;
  for (const std::string& name : place.layers) {
    if (!is_layer_name(name)) continue;
    unsigned long number = 0;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), number);
    last = std::max(last, number);
  }
  return fmt::format("{}{}", kPrefix, last + 1);
}

Result<WritablePlace> read_writable_place(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kFileName;
  DADI_TRY(const auto file, FileBlob::open(path));
  if (file->size() > kFileLimit) return Error::corruption("{} is larger than such a file may be", path.string());
  DADI_TRY(const auto text, read_range(*file, {0}, file->size()));
  const Json json = Json::parse(as_text(text), nullptr, /*allow_exceptions=*/false);
  WritablePlace place;
  DADI_TRY(place.image, image_place_of(json).context("{}", path.string()));
  if (json.contains("layers")) {
    DADI_TRY(place.layers, layers_of(json["layers"]).context("{}", path.string()));
  }
  return place;
}

Result<void> write_writable_place(WritableFolder& folder, const WritablePlace& place) {
  Json json = to_json(place.image);
  if (place.layers != WritablePlace{}.layers) json["layers"] = place.layers;
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace);
  DADI_TRY(const auto file, folder.replace(kFileName, as_bytes(text + "\n")));
  return {};
}

}  // namespace dadi
