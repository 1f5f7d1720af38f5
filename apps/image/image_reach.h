// How images are reached, how those are read that are not on this host, and what lies on them.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "libconvert/registry/access.h"
#include "libformat/base/units.h"

namespace dadi {

// How blobs of registries are read as they are needed. A value type.
struct LazyOptions {
  bool cached = true;        // through the cache on this host's disk
  std::string cache_folder;  // empty: this host's (see cache::cache_folder())
  Bytes cache_size{std::uint64_t{4} << 30};
  Bytes chunk{256U << 10};  // what a read that waits brings, aligned
  std::string tier;         // a folder that hosts share, between cache and registry; empty: none
  bool replay = true;       // what the image's trace says, beforehand
  Bytes rate{};             // the most bytes a second from registries; 0: as many as come
  bool download = false;    // all of the image, in the background
  std::chrono::seconds download_delay{0};
  Bytes download_rate{};
};

// A value type.
struct ImageReach {
  registry::Access registry;
  LazyOptions lazy;
  std::vector<std::string> on_top = {};  // files of block layers that lie on the image's own, bottom first
};

// For another process of this user's, at any time: paths are absolute, and what an image's documents are goes along.
// Credentials do not, only where they are looked for.
nlohmann::ordered_json to_json(const ImageReach& reach);
// Errors: corruption.
Result<ImageReach> image_reach_of(const nlohmann::ordered_json& json);

}  // namespace dadi
