#include "libconvert/oci/config.h"

#include <algorithm>

#include "libconvert/oci/json.h"
#include "libformat/base/bytes.h"

namespace dadi::oci {

namespace {

Json texts_of(std::span<const Digest> digests) {
  Json texts = Json::array();
  for (const Digest& digest : digests) texts.push_back(digest.to_string());
  return texts;
}

// Whether an entry of a history stands for a layer.
bool makes_layer(const Json& entry) {
  if (!entry.is_object()) return true;
  const auto empty = entry.find("empty_layer");
  return empty == entry.end() || !empty->is_boolean() || !empty->get<bool>();
}

// The reference's tool puts the entry of a trace, which is the topmost layer, in front.
bool is_prepended_trace(const Json& entry) {
  const auto created_by = entry.is_object() ? entry.find("created_by") : entry.end();
  return created_by != entry.end() && *created_by == "Acceleration Layer";
}

// Of several entries of a name, of which some programs take the first and others the last, one remains.
Result<void> change_env(Json& config, const std::vector<std::pair<std::string, std::string>>& changes) {
  if (changes.empty()) return {};
  Json& env = config["Env"];
  if (env.is_null()) env = Json::array();
  if (!env.is_array()) return Error::corruption("config: \"Env\" is not an array");
  for (const auto& [name, value] : changes) {
    if (name.empty() || name.find('=') != std::string::npos)
      return Error::invalid_argument("\"{}\" is not a variable's name", name);
    const std::string start = name + "=";
    const auto is_of_name = [&](const Json& entry) {
      return entry.is_string() && entry.get_ref<const std::string&>().starts_with(start);
    };
    const auto found = std::find_if(env.begin(), env.end(), is_of_name);
    if (found == env.end()) {
      env.push_back(start + value);
    } else {
      *found = start + value;
      env.erase(std::remove_if(std::next(found), env.end(), is_of_name), env.end());
    }
  }
  return {};
}

Result<void> change_labels(Json& config, const std::map<std::string, std::string>& changes) {
  if (changes.empty()) return {};
  Json& labels = config["Labels"];
  if (labels.is_null()) labels = Json::object();
  if (!labels.is_object()) return Error::corruption("config: \"Labels\" is not a JSON object");
  for (const auto& [name, value] : changes) labels[name] = value;
  return {};
}

void replace_words(Json& config, const char* name, const std::vector<std::string>& words) {
  if (words.empty()) {
    config.erase(name);
  } else {
    config[name] = words;
  }
}

}  // namespace

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

ImageConfig ImageConfig::empty(const Platform& platform) {
  Json json = Json::object();
  json["architecture"] = platform.architecture;
  if (!platform.variant.empty()) json["variant"] = platform.variant;
  json["os"] = platform.os;
  json["config"] = Json::object();
  json["rootfs"] = {{"type", "layers"}, {"diff_ids", Json::array()}};
  json["history"] = Json::array();
  return ImageConfig(dump_json(json), platform, {});
}

std::string ImageConfig::with_diff_ids(std::span<const Digest> diff_ids) const {
  Json json = Json::parse(json_);  // it was parsed before: cannot fail
  json["rootfs"]["diff_ids"] = texts_of(diff_ids);
  return dump_json(json);
}

ImageConfig ImageConfig::with_layers(std::span<const LayerOrigin> added) const {
  Json json = Json::parse(json_);
  std::vector<Digest> diff_ids = diff_ids_;
  const auto history = json.find("history");
  for (const LayerOrigin& layer : added) {
    diff_ids.push_back(layer.diff_id);
    if (history == json.end() || !history->is_array()) continue;
    Json entry = Json::object();
    if (const auto created = json.find("created"); created != json.end()) entry["created"] = *created;
    entry["created_by"] = layer.created_by;
    if (!layer.comment.empty()) entry["comment"] = layer.comment;
    history->push_back(std::move(entry));
  }
  json["rootfs"]["diff_ids"] = texts_of(diff_ids);
  return ImageConfig(dump_json(json), platform_, std::move(diff_ids));
}

ImageConfig ImageConfig::with_lowest_layers(std::size_t count) const {
  Json json = Json::parse(json_);
  std::vector<Digest> diff_ids = diff_ids_;
  diff_ids.erase(diff_ids.begin() + static_cast<std::ptrdiff_t>(std::min(count, diff_ids.size())), diff_ids.end());
  json["rootfs"]["diff_ids"] = texts_of(diff_ids);
  if (const auto history = json.find("history"); history != json.end() && history->is_array()) {
    Json kept = Json::array();
    std::size_t layers = 0;
    if (diff_ids.size() < diff_ids_.size() && !history->empty() && is_prepended_trace(history->front()))
      history->erase(history->begin());
    for (Json& entry : *history) {
      if (makes_layer(entry) && ++layers > diff_ids.size()) continue;
      kept.push_back(std::move(entry));
    }
    *history = std::move(kept);
  }
  return ImageConfig(dump_json(json), platform_, std::move(diff_ids));
}

Result<ImageConfig> ImageConfig::with_changes(const ConfigChanges& changes) const {
  if (changes == ConfigChanges{}) return *this;
  Json json = Json::parse(json_);
  Json& config = json["config"];
  if (config.is_null()) config = Json::object();
  if (!config.is_object()) return Error::corruption("config: \"config\" is not a JSON object");
  DADI_CHECK(change_env(config, changes.env));
  DADI_CHECK(change_labels(config, changes.labels));
  if (changes.entrypoint) config.erase("Cmd");
  if (changes.entrypoint) replace_words(config, "Entrypoint", *changes.entrypoint);
  if (changes.cmd) replace_words(config, "Cmd", *changes.cmd);
  if (changes.user) config["User"] = *changes.user;
  if (changes.workdir) config["WorkingDir"] = *changes.workdir;
  return ImageConfig(dump_json(json), platform_, diff_ids_);
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
