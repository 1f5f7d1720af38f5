// Manifests and indexes: reading with every field checked, and writing in the form that Go programs write.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libconvert/oci/descriptor.h"
#include "libconvert/oci/media_types.h"
#include "libformat/base/result.h"

namespace dadi::oci {

inline constexpr Bytes kManifestLimit{4 << 20};  // a larger manifest or index is refused

// The list of an image's parts. A value type.
struct Manifest {
  std::string media_type;  // never empty
  std::string artifact_type;
  Descriptor config;
  std::vector<Descriptor> layers;  // bottom first
  std::optional<Descriptor> subject;
  Annotations annotations;

  // `media_type` is that of the descriptor that led here: the document may leave its own out, but not contradict.
  // Errors: corruption (not JSON, a field missing, out of its range or of the wrong type), unsupported (schema 1).
  static Result<Manifest> parse(std::span<const std::byte> json, std::string_view media_type);
  // Compact, fields in the order of Go's structs: the same manifest gives the same bytes.
  std::string to_json() const;

  friend bool operator==(const Manifest&, const Manifest&) = default;
};

// A list of manifests, one for a platform each, or of further indexes. A value type.
struct Index {
  std::string media_type;  // never empty
  std::string artifact_type;
  std::vector<Descriptor> manifests;
  std::optional<Descriptor> subject;
  Annotations annotations;

  // As for Manifest.
  static Result<Index> parse(std::span<const std::byte> json, std::string_view media_type);
  std::string to_json() const;

  friend bool operator==(const Index&, const Index&) = default;
};

}  // namespace dadi::oci
