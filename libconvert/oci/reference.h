// Image references as people write them on the command line.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libformat/base/digest.h"
#include "libformat/base/result.h"

namespace dadi::oci {

// Where an image is, or where it shall go. A value type.
//
//   oci:DIR[:TAG]               an OCI layout folder
//   oci-archive:FILE[:TAG]      the same as a tar file
//   docker-archive:FILE[:TAG]   what `docker save` writes; TAG is NAME:TAG
//   docker://HOST/REPO:TAG      a registry; bare names ("nginx:1.25") too
//   layers:FILE[,FILE…]         block layers as files, bottom first
//   config:FILE                 the overlaybd runtime's config file
//
// In the first three, @sha256:… in place of TAG (with or without the colon before it) selects a manifest by digest.
// DIR and FILE end at their first colon.
struct Reference {
  enum class Kind { kLayout, kOciArchive, kDockerArchive, kRegistry, kLayers, kConfig };

  Kind kind = Kind::kRegistry;
  std::vector<std::filesystem::path> files;  // kLayers: one or more; kRegistry: none; else one
  std::string host;                          // kRegistry: with its port, if one was given
  std::string repository;                    // kRegistry: "library/nginx"
  std::string tag;                           // empty: none was given (kRegistry: "latest" unless there is a digest)
  std::optional<Digest> digest;              // of a manifest or an index
  bool guessed = false;                      // a bare path: callers tell the user how it was understood

  const std::filesystem::path& path() const { return files.front(); }  // REQUIRES: not kRegistry
  // In full, with the prefix: what parse_reference() reads as the same reference.
  std::string to_string() const;

  friend bool operator==(const Reference&, const Reference&) = default;
};

// A bare path to an existing layout folder or image archive is understood, by looking at it; a bare name that is no
// path is a registry's. Errors: invalid_argument (malformed; the message says which part), not_found (a bare path that
// does not exist), unsupported (another tool's kind of reference).
Result<Reference> parse_reference(std::string_view text);

// "nginx" and "docker.io/library/nginx:latest" name the same image: parses a name with the usual defaults.
// Errors: invalid_argument.
Result<Reference> parse_registry_name(std::string_view text);

}  // namespace dadi::oci
