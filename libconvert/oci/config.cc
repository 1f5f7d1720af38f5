#include "libconvert/oci/config.h"

#include "libconvert/oci/json.h"
#include "libformat/base/bytes.h"

namespace dadi::oci {

Result<ImageConfig> ImageConfig::parse(std::span<const std::byte> bytes) {
  DADI_TRY(const Json json, parse_json(bytes));
  DADI_TRY(const JsonObject document, JsonObject::of(json, "config"));
  DADI_TRY(Platform platform, parse_platform(document));
  DADI_TRY(const JsonObject rootfs, document.required_object("rootfs"));
  DADI_TRY(const std::string type, rootfs.text("type"));
  if (type != "layers") return Error::corruption("config: a rootfs of type \"{}\", not \"layers\"", type);
  DADI_TRY(const std::vector<std::string> texts, rootfs.texts("diff_ids"));
  std::vector<Digest> diff_ids;
  for (const std::string& text : texts) {
    DADI_TRY(const Digest digest, parse_digest(text).context("config: diff_ids[{}]", diff_ids.size()));
    diff_ids.push_back(digest);
  }
  DADI_TRY(const Json* history, document.array("history"));
  static_cast<void>(history);  // passed on as it is
  return ImageConfig(std::string(as_text(bytes)), std::move(platform), std::move(diff_ids));
}

std::string ImageConfig::with_diff_ids(std::span<const Digest> diff_ids) const {
  Json json = Json::parse(json_);  // it was parsed before: cannot fail
  Json& list = json["rootfs"]["diff_ids"] = Json::array();
  for (const Digest& digest : diff_ids) list.push_back(digest.to_string());
  return dump_json(json);
}

std::string ImageConfig::with_layer_in_history(std::string_view created_by) const {
  Json json = Json::parse(json_);
  if (const auto history = json.find("history"); history != json.end() && history->is_array()) {
    Json entry = Json::object();
    if (const auto created = json.find("created"); created != json.end()) entry["created"] = *created;
    entry["created_by"] = created_by;
    history->push_back(std::move(entry));
  }
  return dump_json(json);
}

std::vector<Digest> chain_ids(std::span<const Digest> diff_ids) {
  std::vector<Digest> chain;
  chain.reserve(diff_ids.size());
  for (const Digest& diff_id : diff_ids)
    chain.push_back(chain.empty() ? diff_id
                                  : Digest::of(as_bytes(chain.back().to_string() + " " + diff_id.to_string())));
  return chain;
}

}  // namespace dadi::oci
