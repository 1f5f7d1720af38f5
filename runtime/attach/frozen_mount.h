// A mounted file system that stands still for a moment.
#pragma once

#include <sys/types.h>

#include <filesystem>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi::attach {

// A file system that takes no writes while this lives, and whose device has been given everything that came before. Who
// writes waits; so a process of its own freezes and thaws it, which goes on if this one is killed. Move-only.
class FrozenMount {
 public:
  // Errors: unsupported (a file system that cannot), busy (somebody else has frozen it), denied, io.
  static Result<FrozenMount> freeze(const std::filesystem::path& point);
  FrozenMount(FrozenMount&& other) noexcept;
  FrozenMount& operator=(FrozenMount&&) = delete;
  ~FrozenMount();

 private:
  FrozenMount(UniqueFd alive, pid_t keeper) : alive_(std::move(alive)), keeper_(keeper) {}

  UniqueFd alive_;  // the keeper thaws once it is closed, by whomever
  pid_t keeper_;    // -1: moved from
};

}  // namespace dadi::attach
