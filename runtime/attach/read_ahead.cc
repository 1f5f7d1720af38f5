#include "runtime/attach/read_ahead.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <tuple>

#include "libformat/base/unique_fd.h"

namespace dadi::attach {

void set_read_ahead(const std::string& device, Bytes bytes) {
  const std::string name = std::filesystem::path(device).filename().string();
  const std::string path = fmt::format("/sys/block/{}/queue/read_ahead_kb", name);
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string value = std::to_string(bytes.value >> 10);
  if (file) std::ignore = ::write(file.get(), value.data(), value.size());
}

}  // namespace dadi::attach
