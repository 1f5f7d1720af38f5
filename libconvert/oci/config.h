// An image's config: what is needed of it, and how it is passed on.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "libconvert/oci/platform.h"
#include "libformat/base/digest.h"
#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi::oci {

inline constexpr Bytes kConfigLimit{16 << 20};  // a larger config is refused

// What containers of an image run as, where it shall differ. A value type.
struct ConfigChanges {
  std::vector<std::pair<std::string, std::string>> env = {};  // name and value; of one that is there, the value changes
  std::optional<std::vector<std::string>> entrypoint =
      {};                                            // empty: none. A cmd that is there goes, being its arguments
  std::optional<std::vector<std::string>> cmd = {};  // empty: none
  std::map<std::string, std::string> labels = {};    // beside those that are there, or in their place
  std::optional<std::string> user = {};
  std::optional<std::string> workdir = {};

  friend bool operator==(const ConfigChanges&, const ConfigChanges&) = default;
};

// A layer, as a config tells of it. A value type.
struct LayerOrigin {
  Digest diff_id;
  std::string created_by;    // for people: a command
  std::string comment = {};  // for people; "": none
};

// Keeps the document as it came, so that fields which nobody here knows survive a conversion. A value type.
class ImageConfig {
 public:
  // Errors: corruption (not JSON, a field missing or of the wrong type).
  static Result<ImageConfig> parse(std::span<const std::byte> json);
  // Of an image for a platform, without layers yet.
  static ImageConfig empty(const Platform& platform);

  const Platform& platform() const { return platform_; }
  const std::vector<Digest>& diff_ids() const { return diff_ids_; }  // bottom first
  const std::string& json() const { return json_; }

  // The document with rootfs.diff_ids replaced: all other fields kept, in their order; compact.
  std::string with_diff_ids(std::span<const Digest> diff_ids) const;

  // The document with these layers on top of its own: diff ids, and entries of its history, where it has one. No clock:
  // they are made when the image was.
  ImageConfig with_layers(std::span<const LayerOrigin> added) const;

  // The document with the lowest `count` of its layers only. Of its history goes what has no layer any more, counted
  // from the top, since there may be fewer entries than layers.
  ImageConfig with_lowest_layers(std::size_t count) const;

  // Errors: corruption (what is to be changed is not of the type that it should be), invalid_argument (a name in `env`
  // that is empty or has a '=').
  Result<ImageConfig> with_changes(const ConfigChanges& changes) const;

 private:
  ImageConfig(std::string json, Platform platform, std::vector<Digest> diff_ids)
      : json_(std::move(json)), platform_(std::move(platform)), diff_ids_(std::move(diff_ids)) {}

  std::string json_;
  Platform platform_;
  std::vector<Digest> diff_ids_;
};

// The chain id of every layer: of the first, its diff id; of each further one, the digest of "<chain id below> <diff
// id>". Source: the OCI image specification, config.md.
std::vector<Digest> chain_ids(std::span<const Digest> diff_ids);

}  // namespace dadi::oci
