// How this user reaches registries: what the options say, and then the environment.
#pragma once

#include <filesystem>
#include <stop_token>
#include <string>

#include "libconvert/registry/access.h"

namespace dadi {

// Empty: not said.
struct RegistryOptions {
  std::string authfile;
  std::string ca_file;
  std::string client_certificate;
  std::string client_key;
  std::string registries_conf;
  bool plain_http = false;
};

// Credentials are looked for in --authfile, else $REGISTRY_AUTH_FILE, else in auth.json of the containers tools in
// $XDG_RUNTIME_DIR and in $XDG_CONFIG_HOME, and in Docker's config.json, in that order.
// Mirrors in --registries-conf, else $CONTAINERS_REGISTRIES_CONF, else in the containers tools' registries.conf of this
// user or this host and in registries.conf.d of both.
registry::Access registry_access(const RegistryOptions& options, std::stop_token stop);

// Where a login is written: the first of these places that is given; of Docker's none.
std::filesystem::path login_file(const RegistryOptions& options);

}  // namespace dadi
