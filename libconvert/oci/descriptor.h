// A reference from one document of an image to the next.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "libconvert/oci/platform.h"
#include "libformat/base/digest.h"
#include "libformat/base/units.h"

namespace dadi::oci {

using Annotations = std::map<std::string, std::string>;

// Everything is as somebody else claims it, until the content was read and verified. A value type.
struct Descriptor {
  std::string media_type;
  Digest digest;
  Bytes size;
  std::vector<std::string> urls = {};
  Annotations annotations = {};
  std::optional<Platform> platform = {};
  std::string artifact_type = {};

  // The annotation of that name, or "".
  const std::string& annotation(const std::string& name) const;

  friend bool operator==(const Descriptor&, const Descriptor&) = default;
};

inline constexpr char kRefName[] = "org.opencontainers.image.ref.name";  // a layout's tag
inline constexpr char kContainerdName[] = "io.containerd.image.name";    // the whole name, in exports
inline constexpr char kReferenceType[] = "vnd.docker.reference.type";    // what an attestation is known by
inline constexpr char kAttestationManifest[] = "attestation-manifest";

}  // namespace dadi::oci
