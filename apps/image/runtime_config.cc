#include "apps/image/runtime_config.h"

#include <nlohmann/json.hpp>

#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

using nlohmann::json;

constexpr Bytes kConfigLimit{4 << 20};

// The string field `name`, "" when it is missing. Errors: corruption.
Result<std::string> text_of(const json& object, const char* name) {
  const auto field = object.find(name);
  if (field == object.end() || field->is_null()) return std::string();
  if (!field->is_string()) return Error::corruption("\"{}\" is not a string", name);
  return field->get<std::string>();
}

// In the order in which the runtime looks.
Result<std::filesystem::path> find_in_folder(const std::filesystem::path& folder) {
  for (const char* name : {"overlaybd.commit", ".commit", "overlaybd.sealed"}) {
    std::error_code ignored;
    if (std::filesystem::exists(folder / name, ignored)) return folder / name;
  }
  return Error::not_found("no overlaybd.commit in {}", folder.string());
}

Result<RuntimeConfig::Lower> parse_lower(const json& object, const std::filesystem::path& base) {
  if (!object.is_object()) return Error::corruption("not an object");
  DADI_TRY(const std::string file, text_of(object, "file"));
  DADI_TRY(const std::string folder, text_of(object, "dir"));
  DADI_TRY(const std::string digest, text_of(object, "digest"));
  for (const char* name : {"targetFile", "targetDigest", "gzipIndex"}) {
    DADI_TRY(const std::string target, text_of(object, name));
    if (!target.empty()) return Error::unsupported("TurboOCI (\"{}\")", name);
  }
  RuntimeConfig::Lower lower;
  if (!file.empty()) {
    lower.file = base / file;
  } else if (!folder.empty()) {
    auto found = find_in_folder(base / folder);
    if (!found && !digest.empty()) {
      return Error::unsupported("{} is on a registry, and not in {}", digest, folder)
          .with_hint("download the blob there, under the name overlaybd.commit");
    }
    DADI_TRY(lower.file, std::move(found));
  } else {
    return Error::unsupported("neither \"file\" nor \"dir\"");
  }
  const auto size = object.find("size");
  if (!digest.empty() && size != object.end() && size->is_number_unsigned()) {
    DADI_TRY(const Digest parsed, Digest::parse(digest));
    lower.expected = BlobIdentity{parsed, {size->get<std::uint64_t>()}};
  }
  return lower;
}

Result<std::optional<RuntimeConfig::Upper>> parse_upper(const json& document, const std::filesystem::path& base) {
  const auto object = document.find("upper");
  if (object == document.end() || object->is_null()) return std::optional<RuntimeConfig::Upper>();
  if (!object->is_object()) return Error::corruption("not an object");
  DADI_TRY(const std::string index, text_of(*object, "index"));
  DADI_TRY(const std::string data, text_of(*object, "data"));
  DADI_TRY(const std::string target, text_of(*object, "target"));
  if (!target.empty()) return Error::unsupported("TurboOCI (\"target\")");
  if (data.empty()) return std::optional<RuntimeConfig::Upper>();
  return std::optional(RuntimeConfig::Upper{base / index, base / data});
}

Result<RuntimeConfig> parse(std::string_view text, const std::filesystem::path& base) {
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return Error::corruption("not a JSON object");
  RuntimeConfig config;
  const auto lowers = document.find("lowers");
  if (lowers != document.end() && !lowers->is_null()) {
    if (!lowers->is_array()) return Error::corruption("\"lowers\" is not a list");
    const auto traced = document.find("accelerationLayer");
    std::size_t count = lowers->size();
    if (traced != document.end() && traced->is_boolean() && traced->get<bool>() && count > 0) --count;
    for (std::size_t i = 0; i < count; ++i) {
      DADI_TRY(auto lower, parse_lower((*lowers)[i], base).context("lower {}", i));
      config.lowers.push_back(std::move(lower));
    }
  }
  DADI_TRY(config.upper, parse_upper(document, base).context("upper"));
  if (config.lowers.empty() && !config.upper) return Error::corruption("no layers");
  return config;
}

}  // namespace

Result<RuntimeConfig> RuntimeConfig::load(const std::filesystem::path& path) {
  DADI_TRY(const auto file, FileBlob::open(path));
  if (file->size() > kConfigLimit)
    return Error::corruption("{}: larger than {} bytes", path.string(), kConfigLimit.value);
  DADI_TRY(const auto raw, read_range(*file, {0}, file->size()));
  return parse(as_text(raw), path.parent_path()).context("{}", path.string());
}

}  // namespace dadi
