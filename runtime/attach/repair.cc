#include "runtime/attach/repair.h"

#include "runtime/attach/e2fsprogs.h"
#include "runtime/attach/ext4_marks.h"

namespace dadi::attach {
namespace {

// How e2fsck's status counts: the sum of what was the case.
bool is_sound(const ProgramRun& run) {
  constexpr int kRepaired = 1;
  constexpr int kRepairedMounted = 2;  // and should not have been: it is not
  return (run.status & ~(kRepaired | kRepairedMounted)) == 0;
}

}  // namespace

Result<std::string> find_e2fsck() {
  auto program = find_e2fsprogs("e2fsck");
  if (!program)
    return std::move(program).error().with_hint(
        "install e2fsprogs; or attach without --mount, and repair the file system in another way");
  return program;
}

Result<bool> repair_unclean(const std::string& device, const std::function<void(std::string_view)>& note) {
  DADI_TRY(const auto marks, read_ext4_marks(device));
  if (!marks || !marks->unclean) return false;
  DADI_TRY(const std::string program, find_e2fsck().context("the file system was not unmounted cleanly"));
  DADI_TRY(const ProgramRun safe, run_e2fsprogs(program, {"-fp", device}));
  if (is_sound(safe)) {
    note("the file system was not unmounted cleanly: e2fsck -fp has checked and repaired it");
    return true;
  }
  constexpr int kFaultsLeft = 4;
  if (safe.status != kFaultsLeft && safe.status != kFaultsLeft + 1)
    return Error::io("e2fsck ended with {}: {}", safe.status, safe.last_line());
  DADI_TRY(const ProgramRun all, run_e2fsprogs(program, {"-fy", device}));
  if (!is_sound(all)) {
    return Error::corruption("e2fsck cannot repair the file system, which was not unmounted cleanly: {}",
                             all.last_line())
        .with_hint("attach without --mount, and look at it with e2fsck -fn");
  }
  note(
      "the file system was not unmounted cleanly: e2fsck -fp was not enough, and -fy has repaired it; what lost its "
      "name is in lost+found");
  return true;
}

}  // namespace dadi::attach
