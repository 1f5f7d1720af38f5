#include "apps/image/writable_place.h"

#include <fmt/format.h>

#include <algorithm>

#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

using Json = nlohmann::ordered_json;

constexpr auto kFileName = "image.json";
constexpr Bytes kFileLimit{64U << 20};  // a manifest and a config may be in it
constexpr std::string_view kPrefix = "layer-";

Result<std::vector<std::string>> names_of(const Json& json) try {
  auto names = json.get<std::vector<std::string>>();
  if (names.size() > kMostWritableLayers) return Error::corruption("{} layers", names.size());
  for (const std::string& name : names) {
    if (name != kThisFolder && !is_layer_name(name)) return Error::corruption("{:?} is no layer's name", name);
    if (std::ranges::count(names, name) > 1) return Error::corruption("layer {} is named twice", name);
  }
  return names;
} catch (const Json::exception& error) {
  return Error::corruption("layers: {}", error.what());
}

}  // namespace

std::string layer_name(const lsmt::Uuid& uuid) {
  return fmt::format("{}{}", kPrefix, uuid.to_string());
}

bool is_layer_name(std::string_view name) {
  return name.starts_with(kPrefix) && lsmt::Uuid::parse(name.substr(kPrefix.size())).has_value();
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
    DADI_TRY(place.layers, names_of(json["layers"]).context("{}", path.string()));
    if (place.layers.empty()) return Error::corruption("{}: no layer", path.string());
  }
  if (json.contains("dropped")) {
    DADI_TRY(place.dropped, names_of(json["dropped"]).context("{}", path.string()));
  }
  return place;
}

Result<void> write_writable_place(WritableFolder& folder, const WritablePlace& place) {
  Json json = to_json(place.image);
  if (place.layers != WritablePlace{}.layers) json["layers"] = place.layers;
  if (!place.dropped.empty()) json["dropped"] = place.dropped;
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace);
  DADI_TRY(const auto file, folder.replace(kFileName, as_bytes(text + "\n")));
  return {};
}

}  // namespace dadi
