#include "apps/dadid/memory_pressure.h"

#include <fcntl.h>
#include <linux/prctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "libformat/base/unique_fd.h"

namespace dadi {
namespace {

// Of -1000 to 1000: after everything that is not itself exempt.
constexpr std::string_view kNearlyLast = "-900";

Result<void> be_killed_late() {
  const UniqueFd file(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (!file || ::write(file.get(), kNearlyLast.data(), kNearlyLast.size()) < 0)
    return Error::from_errno(errno, "/proc/self/oom_score_adj");
  return {};
}

}  // namespace

void withstand_memory_pressure(const attach::DeviceSpec& spec, Log& log) {
  if (!spec.writable) return;
  if (::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0)
    log.warning(Error::from_errno(errno, "writes may be slow when memory is short: PR_SET_IO_FLUSHER").message());
  if (const auto lowered = be_killed_late(); !lowered)
    log.warning(lowered.error().message() + ": the kernel may choose this process when memory is short");
}

}  // namespace dadi
