// A mounted file system that stands still for a moment.
#pragma once

#include <filesystem>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi::attach {

// A file system that takes no writes while this lives, and whose device has been given everything that came before. Who
// writes waits. Move-only.
class FrozenMount {
 public:
  // Errors: unsupported (a file system that cannot), busy (somebody else has frozen it), denied, io.
  static Result<FrozenMount> freeze(const std::filesystem::path& point);
  FrozenMount(FrozenMount&&) = default;
  FrozenMount& operator=(FrozenMount&&) = delete;
  ~FrozenMount();

 private:
  explicit FrozenMount(UniqueFd root) : root_(std::move(root)) {}

  UniqueFd root_;
};

}  // namespace dadi::attach
