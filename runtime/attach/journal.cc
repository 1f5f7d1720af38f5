#include "runtime/attach/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "runtime/attach/e2fsprogs.h"
#include "runtime/attach/ext4_marks.h"

namespace dadi::attach {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

// In MiB, as tune2fs takes it. With the kernel's measure, up to a GiB, the journal of an image that is mostly room
// would be the larger part of the layer.
std::uint64_t journal_size(Bytes file_system, Bytes limit) {
  constexpr std::uint64_t kSmallest = 4;  // 1024 blocks of 4 KiB: ext4 has no smaller ones
  constexpr std::uint64_t kLargest = 64;
  std::uint64_t size = file_system.value / 64 / kMiB;
  if (limit.value > 0) size = std::min(size, limit.value / 8 / kMiB);
  return std::clamp(size, kSmallest, kLargest);
}

}  // namespace

Result<void> put_journal(const std::string& device, Bytes limit, const std::function<void(std::string_view)>& note) {
  DADI_TRY(const auto marks, read_ext4_marks(device));
  if (!marks)
    return Error::unsupported("what is on the device is not ext4, and takes no journal")
        .with_hint("attach it without --journal");
  if (marks->has_journal) return {};
  if (marks->unclean)
    return Error::corruption("the file system was not unmounted cleanly, and takes no journal before it is repaired")
        .with_hint("attach it with --mount, which has e2fsck repair it");
  auto program = find_e2fsprogs("tune2fs");
  if (!program) return std::move(program).error().with_hint("install e2fsprogs; or attach without --journal");
  const std::uint64_t size = journal_size(marks->size, limit);
  DADI_TRY(const ProgramRun run, run_e2fsprogs(*program, {"-J", fmt::format("size={}", size), device}));
  if (run.status != 0)
    return Error::unsupported("tune2fs ended with {}: {}", run.status, run.last_line())
        .with_hint("attach it without --journal");
  note(fmt::format("the file system has a journal now, of {} MiB", size));
  return {};
}

}  // namespace dadi::attach
