// How registries are reached: what the command line and the environment say, read by whoever runs the program.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "libconvert/registry/credentials.h"

namespace dadi::registry {

struct Traffic;

// A value type. The default reaches registries that ask for nothing.
struct Access {
  std::vector<std::filesystem::path> credential_files;  // the first that knows a registry counts; may be missing
  std::optional<Credential> fixed_credential;           // instead of what the files say
  AskHelper ask_helper;                                 // may be empty
  std::filesystem::path ca_file;                        // trusted besides the system's authorities
  std::filesystem::path client_certificate;             // PEM, with client_key when the key is not in it
  std::filesystem::path client_key;
  bool plain_http = false;    // without TLS everywhere; else on the loopback alone, where TLS is not spoken
  bool may_lack_tls = false;  // as on the loopback
  int most_tries = 6;         // of a request; fewer where somebody else can be asked
  std::vector<std::filesystem::path> registries_files = {};  // see mirrors.h; those read last count more
  std::filesystem::path staging = {};  // where blobs wait for their upload; empty: the system's temporary folder
  std::string mount_from = {};         // a repository of the destination's registry that may have the blobs already
  std::stop_token stop = {};
  // How long a read at random of a blob is tried again while its registry cannot be reached or asks for patience.
  std::chrono::seconds read_time{30};
  std::shared_ptr<Traffic> traffic = {};  // counted into; may be null
  // Manifests, indexes and configs that are here already, by digest: not asked for again.
  std::map<std::string, std::vector<std::byte>> documents = {};
};

}  // namespace dadi::registry
