// How registries are reached: what the command line and the environment say, read by whoever runs the program.
#pragma once

#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "libconvert/registry/credentials.h"

namespace dadi::registry {

// A value type. The default reaches registries that ask for nothing.
struct Access {
  std::vector<std::filesystem::path> credential_files;  // the first that knows a registry counts; may be missing
  std::optional<Credential> fixed_credential;           // instead of what the files say
  AskHelper ask_helper;                                 // may be empty
  std::filesystem::path ca_file;                        // trusted besides the system's authorities
  std::filesystem::path client_certificate;             // PEM, with client_key when the key is not in it
  std::filesystem::path client_key;
  bool plain_http = false;             // without TLS everywhere; else on the loopback alone, where TLS is not spoken
  std::filesystem::path staging = {};  // where blobs wait for their upload; empty: the system's temporary folder
  std::string mount_from = {};         // a repository of the destination's registry that may have the blobs already
  std::stop_token stop = {};
};

}  // namespace dadi::registry
