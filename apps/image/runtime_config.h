// The overlaybd runtime's config.v1.json: which files make up a device. Source: registry-image.md, section 4.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/blob/byte_stream.h"

namespace dadi {

// What of it matters for reading a device from local files. A value type.
struct RuntimeConfig {
  struct Lower {
    std::filesystem::path file;
    std::optional<BlobIdentity> expected;  // when digest and size are stated, and the file is the blob itself
  };
  struct Upper {
    std::filesystem::path index;
    std::filesystem::path data;
  };

  std::vector<Lower> lowers;  // bottom first; a layer that carries a trace is left out
  std::optional<Upper> upper;

  // Reads the file. A lower is its `file`, or the first that exists in its `dir` of overlaybd.commit, .commit and
  // overlaybd.sealed. Relative paths start at the config file's folder.
  // Errors: not_found, corruption (not JSON, a field of the wrong type, no layers), unsupported (a lower that is only
  // on a registry, TurboOCI), io.
  static Result<RuntimeConfig> load(const std::filesystem::path& path);
};

}  // namespace dadi
