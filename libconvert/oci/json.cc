#include "libconvert/oci/json.h"

#include <array>

#include "libformat/base/bytes.h"

namespace dadi::oci {

namespace {

constexpr std::size_t kMaxDepth = 64;
// An object's members are kept in a list, and each new one is compared with all before it: what that may cost, in
// bytes compared. Tens of thousands of members pass.
constexpr std::uint64_t kMaxWork = std::uint64_t{1} << 31;

// Looks at brackets and commas only, before the parser gets to see the text. Leaves malformed text to the parser.
Result<void> require_reasonable(std::string_view text) {
  std::array<std::size_t, kMaxDepth> starts{};  // where each open object or array begins
  std::size_t depth = 0;
  std::uint64_t work = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (depth == kMaxDepth) return Error::corruption("JSON nested deeper than {}", kMaxDepth);
      starts[depth++] = i;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return {};
      --depth;
    } else if (c == ',' && depth > 0 && text[starts[depth - 1]] == '{') {
      work += i - starts[depth - 1];
      if (work > kMaxWork) return Error::corruption("JSON with objects of too many members");
    }
  }
  return {};
}

}  // namespace

Result<Json> parse_json(std::span<const std::byte> bytes) {
  const std::string_view text = as_text(bytes);
  DADI_CHECK(require_reasonable(text));
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    return Error::corruption("not JSON (at byte {} of {})", error.byte, text.size());
  } catch (const nlohmann::json::exception&) {
    return Error::corruption("JSON with a number out of range");
  }
}

std::string dump_json(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<JsonObject> JsonObject::of(const Json& json, std::string_view what) {
  if (!json.is_object()) return Error::corruption("{} is not a JSON object", what);
  return JsonObject(&json, std::string(what));
}

const Json* JsonObject::find(const char* name) const {
  const auto at = json_->find(name);
  return at == json_->end() || at->is_null() ? nullptr : &*at;
}

Result<std::string> JsonObject::text(const char* name) const {
  const Json* member = find(name);
  if (member == nullptr) return std::string();
  if (!member->is_string()) return Error::corruption("{}: \"{}\" is not a string", what_, name);
  return member->get<std::string>();
}

Result<std::string> JsonObject::required_text(const char* name) const {
  if (find(name) == nullptr) return Error::corruption("{}: \"{}\" is missing", what_, name);
  return text(name);
}

Result<std::uint64_t> JsonObject::required_number(const char* name) const {
  const Json* member = find(name);
  if (member == nullptr) return Error::corruption("{}: \"{}\" is missing", what_, name);
  if (!member->is_number_unsigned() || member->get<std::uint64_t>() >> 63 != 0)
    return Error::corruption("{}: \"{}\" is not a whole number in range", what_, name);
  return member->get<std::uint64_t>();
}

Result<JsonObject> JsonObject::required_object(const char* name) const {
  const Json* member = find(name);
  if (member == nullptr) return Error::corruption("{}: \"{}\" is missing", what_, name);
  return JsonObject::of(*member, what_ + ": \"" + name + "\"");
}

Result<const Json*> JsonObject::array(const char* name) const {
  const Json* member = find(name);
  if (member != nullptr && !member->is_array()) return Error::corruption("{}: \"{}\" is not an array", what_, name);
  return member;
}

Result<std::vector<std::string>> JsonObject::texts(const char* name) const {
  DADI_TRY(const Json* items, array(name));
  std::vector<std::string> values;
  if (items == nullptr) return values;
  for (const Json& item : *items) {
    if (!item.is_string()) return Error::corruption("{}: \"{}\" holds other things than strings", what_, name);
    values.push_back(item.get<std::string>());
  }
  return values;
}

Result<Annotations> JsonObject::annotations(const char* name) const {
  const Json* member = find(name);
  Annotations values;
  if (member == nullptr) return values;
  if (!member->is_object()) return Error::corruption("{}: \"{}\" is not an object", what_, name);
  for (const auto& [key, value] : member->items()) {
    if (!value.is_string()) return Error::corruption("{}: \"{}\" holds other things than strings", what_, name);
    values[key] = value.get<std::string>();
  }
  return values;
}

Result<Digest> parse_digest(std::string_view text) {
  auto digest = Digest::parse(text);
  if (!digest && digest.error().code() == ErrorCode::kInvalidArgument)
    return Error(ErrorCode::kCorruption, digest.error().message());
  return digest;
}

Result<Platform> parse_platform(const JsonObject& object) {
  Platform platform;
  DADI_TRY(platform.os, object.text("os"));
  DADI_TRY(platform.architecture, object.text("architecture"));
  DADI_TRY(platform.variant, object.text("variant"));
  DADI_TRY(platform.os_version, object.text("os.version"));
  DADI_TRY(platform.os_features, object.texts("os.features"));
  return platform;
}

Result<Descriptor> parse_descriptor(const Json& json, std::string_view what) {
  DADI_TRY(const JsonObject object, JsonObject::of(json, what));
  DADI_TRY(std::string media_type, object.text("mediaType"));  // old Docker archives leave it out
  DADI_TRY(const std::string digest_text, object.required_text("digest"));
  DADI_TRY(const Digest digest, parse_digest(digest_text).context("{}", what));
  DADI_TRY(const std::uint64_t size, object.required_number("size"));
  Descriptor descriptor{.media_type = std::move(media_type), .digest = digest, .size = {size}};
  DADI_TRY(descriptor.urls, object.texts("urls"));
  DADI_TRY(descriptor.annotations, object.annotations("annotations"));
  DADI_TRY(descriptor.artifact_type, object.text("artifactType"));
  if (object.find("platform") != nullptr) {
    DADI_TRY(const JsonObject platform, object.required_object("platform"));
    DADI_TRY(descriptor.platform, parse_platform(platform));
  }
  return descriptor;
}

Json to_json(const Descriptor& descriptor) {
  Json json = Json::object();
  json["mediaType"] = descriptor.media_type;
  json["digest"] = descriptor.digest.to_string();
  json["size"] = descriptor.size.value;
  if (!descriptor.urls.empty()) json["urls"] = descriptor.urls;
  if (!descriptor.annotations.empty()) json["annotations"] = descriptor.annotations;
  if (descriptor.platform) {
    const Platform& platform = *descriptor.platform;
    Json& fields = json["platform"] = Json::object();
    fields["architecture"] = platform.architecture;
    fields["os"] = platform.os;
    if (!platform.os_version.empty()) fields["os.version"] = platform.os_version;
    if (!platform.os_features.empty()) fields["os.features"] = platform.os_features;
    if (!platform.variant.empty()) fields["variant"] = platform.variant;
  }
  if (!descriptor.artifact_type.empty()) json["artifactType"] = descriptor.artifact_type;
  return json;
}

}  // namespace dadi::oci
