#include "apps/image/image_reach.h"

#include "apps/image/credential_helper.h"
#include "libformat/base/bytes.h"

namespace dadi {
namespace {

using Json = nlohmann::ordered_json;

std::string absolute_text(const std::filesystem::path& path) {
  return path.empty() ? std::string() : std::filesystem::absolute(path).string();
}

Json registry_json(const registry::Access& access) {
  Json files = Json::array();
  for (const auto& file : access.credential_files) files.push_back(absolute_text(file));
  Json registries = Json::array();
  for (const auto& file : access.registries_files) registries.push_back(absolute_text(file));
  Json documents = Json::object();
  for (const auto& [digest, bytes] : access.documents) documents[digest] = as_text(bytes);
  return {{"credential_files", std::move(files)},
          {"ca_file", absolute_text(access.ca_file)},
          {"client_certificate", absolute_text(access.client_certificate)},
          {"client_key", absolute_text(access.client_key)},
          {"plain_http", access.plain_http},
          {"read_time", access.read_time.count()},
          {"registries_files", std::move(registries)},
          {"documents", std::move(documents)}};
}

registry::Access access_of(const Json& json) {
  registry::Access access;
  for (const Json& file : json.at("credential_files")) access.credential_files.emplace_back(file.get<std::string>());
  access.ask_helper = ask_helper;
  access.ca_file = json.at("ca_file").get<std::string>();
  access.client_certificate = json.at("client_certificate").get<std::string>();
  access.client_key = json.at("client_key").get<std::string>();
  access.plain_http = json.at("plain_http").get<bool>();
  access.read_time = std::chrono::seconds(json.at("read_time").get<std::int64_t>());
  for (const Json& file : json.at("registries_files")) access.registries_files.emplace_back(file.get<std::string>());
  for (const auto& [digest, text] : json.at("documents").items()) {
    const auto bytes = as_bytes(text.get_ref<const std::string&>());
    access.documents[digest] = {bytes.begin(), bytes.end()};
  }
  return access;
}

Json lazy_json(const LazyOptions& lazy) {
  return {{"cached", lazy.cached},
          {"cache_folder", absolute_text(lazy.cache_folder)},
          {"cache_size", lazy.cache_size.value},
          {"chunk", lazy.chunk.value},
          {"tier", absolute_text(lazy.tier)},
          {"replay", lazy.replay},
          {"rate", lazy.rate.value},
          {"download", lazy.download},
          {"download_delay", lazy.download_delay.count()},
          {"download_rate", lazy.download_rate.value}};
}

LazyOptions lazy_of(const Json& json) {
  return {.cached = json.at("cached").get<bool>(),
          .cache_folder = json.at("cache_folder").get<std::string>(),
          .cache_size = {json.at("cache_size").get<std::uint64_t>()},
          .chunk = {json.at("chunk").get<std::uint64_t>()},
          .tier = json.at("tier").get<std::string>(),
          .replay = json.value("replay", true),
          .rate = {json.at("rate").get<std::uint64_t>()},
          .download = json.at("download").get<bool>(),
          .download_delay = std::chrono::seconds(json.at("download_delay").get<std::int64_t>()),
          .download_rate = {json.at("download_rate").get<std::uint64_t>()}};
}

}  // namespace

Json to_json(const ImageReach& reach) {
  Json json{{"registry", registry_json(reach.registry)}, {"lazy", lazy_json(reach.lazy)}};
  for (const std::string& file : reach.on_top) json["on_top"].push_back(absolute_text(file));
  return json;
}

Result<ImageReach> image_reach_of(const Json& json) try {
  return ImageReach{.registry = access_of(json.at("registry")),
                    .lazy = lazy_of(json.at("lazy")),
                    .on_top = json.value("on_top", std::vector<std::string>())};
} catch (const Json::exception& error) {
  return Error::corruption("how the image is reached: {}", error.what());
}

}  // namespace dadi
