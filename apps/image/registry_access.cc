#include "apps/image/registry_access.h"

#include <algorithm>
#include <cstdlib>

#include "apps/image/credential_helper.h"

namespace dadi {
namespace {

namespace fs = std::filesystem;

// Empty when unset, too.
fs::path variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? fs::path(value) : fs::path();
}

fs::path below(const fs::path& folder, const char* rest) {
  return folder.empty() ? fs::path() : folder / rest;
}

fs::path first_of(std::initializer_list<fs::path> paths) {
  for (const fs::path& path : paths)
    if (!path.empty()) return path;
  return {};
}

fs::path config_home() {
  return first_of({variable("XDG_CONFIG_HOME"), below(variable("HOME"), ".config")});
}

std::vector<fs::path> drop_ins(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code failure;
  for (auto at = fs::directory_iterator(folder, failure); !failure && at != fs::directory_iterator();
       at.increment(failure))
    if (at->path().extension() == ".conf") files.push_back(at->path());
  std::ranges::sort(files);
  return files;
}

std::vector<fs::path> registries_files(const RegistryOptions& options) {
  if (const fs::path named = first_of({options.registries_conf, variable("CONTAINERS_REGISTRIES_CONF")});
      !named.empty())
    return {named};
  const fs::path own = below(config_home(), "containers/registries.conf");
  std::error_code ignored;
  std::vector<fs::path> files = {!own.empty() && fs::exists(own, ignored) ? own : "/etc/containers/registries.conf"};
  for (const fs::path& folder : {fs::path("/etc/containers/registries.conf.d"), fs::path(own.string() + ".d")})
    std::ranges::move(drop_ins(folder), std::back_inserter(files));
  return files;
}

}  // namespace

registry::Access registry_access(const RegistryOptions& options, std::stop_token stop) {
  registry::Access access;
  if (const fs::path named = first_of({options.authfile, variable("REGISTRY_AUTH_FILE")}); !named.empty()) {
    access.credential_files = {named};
  } else {
    for (const fs::path& path :
         {below(variable("XDG_RUNTIME_DIR"), "containers/auth.json"), below(config_home(), "containers/auth.json"),
          below(first_of({variable("DOCKER_CONFIG"), below(variable("HOME"), ".docker")}), "config.json")})
      if (!path.empty()) access.credential_files.push_back(path);
  }
  access.ask_helper = ask_helper;
  access.ca_file = options.ca_file;
  access.client_certificate = options.client_certificate;
  access.client_key = options.client_key;
  access.registries_files = registries_files(options);
  access.plain_http = options.plain_http;
  access.stop = std::move(stop);
  return access;
}

fs::path login_file(const RegistryOptions& options) {
  return first_of({options.authfile, variable("REGISTRY_AUTH_FILE"),
                   below(variable("XDG_RUNTIME_DIR"), "containers/auth.json"),
                   below(config_home(), "containers/auth.json")});
}

}  // namespace dadi
