// An image's config: what is needed of it, and how it is passed on.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "libconvert/oci/platform.h"
#include "libformat/base/digest.h"
#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi::oci {

inline constexpr Bytes kConfigLimit{16 << 20};  // a larger config is refused

// Keeps the document as it came, so that fields which nobody here knows survive a conversion. A value type.
class ImageConfig {
 public:
  // Errors: corruption (not JSON, a field missing or of the wrong type).
  static Result<ImageConfig> parse(std::span<const std::byte> json);

  const Platform& platform() const { return platform_; }
  const std::vector<Digest>& diff_ids() const { return diff_ids_; }  // bottom first
  const std::string& json() const { return json_; }

  // The document with rootfs.diff_ids replaced: all other fields kept, in their order; compact.
  std::string with_diff_ids(std::span<const Digest> diff_ids) const;

  // The document with one more entry of its history, where it has one. No clock: made when the image was.
  std::string with_layer_in_history(std::string_view created_by) const;

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
