#include "tests/fuzz/e2fsck.h"

#include <sys/mman.h>
#include <unistd.h>

#include <regex>
#include <vector>

#include "libformat/base/unique_fd.h"
#include "tests/fuzz/fuzz_input.h"

namespace dadi::fuzz {
namespace {

struct Outcome {
  int status = 0;
  std::string output;
};

Outcome run(const std::string& command) {
  FILE* pipe = ::popen(("PATH=$PATH:/usr/sbin:/sbin; exec 2>&1; " + command).c_str(), "r");
  require(pipe != nullptr, "a command is run");
  Outcome outcome;
  char buffer[4096];
  while (const std::size_t size = std::fread(buffer, 1, sizeof buffer, pipe)) outcome.output.append(buffer, size);
  outcome.status = ::pclose(pipe);
  return outcome;
}

std::uint64_t sample_size() {
  static const std::uint64_t size = [] {
    const char* text = std::getenv("DADI_FUZZ_E2FSCK");
    const bool there = run("command -v e2fsck").status == 0;
    return there ? std::strtoull(text == nullptr ? "256" : text, nullptr, 10) : 0;
  }();
  return size;
}

// FNV-1a.
std::uint64_t hash(std::span<const std::byte> data) {
  std::uint64_t value = 0xcbf29ce484222325;
  for (const std::byte byte : data) value = (value ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
  return value;
}

}  // namespace

bool is_for_e2fsck(std::span<const std::byte> input) {
  return sample_size() != 0 && (hash(input) >> 8) % sample_size() == 0;
}

std::string e2fsck(const BlockReader& device, bool stale_totals) {
  const UniqueFd fd(::memfd_create("device", 0));  // e2fsck inherits it
  require(fd && ::ftruncate(fd.get(), static_cast<off_t>(to_bytes(device.size()).value)) == 0, "a file is made");
  std::vector<std::byte> buffer;
  for (Sectors at; at < device.size();) {
    const Extent extent = must(device.next_extent(at), "a device tells its extents");
    if (extent.kind == Extent::Kind::kData) {
      buffer.resize(to_bytes(extent.length).value);
      must(device.read_at(at, buffer), "a device is read");
      require(::pwrite(fd.get(), buffer.data(), buffer.size(), static_cast<off_t>(to_bytes(at).value)) ==
                  static_cast<ssize_t>(buffer.size()),
              "a file is written");
    }
    at += extent.length;
  }
  Outcome outcome = run("e2fsck -fn /proc/self/fd/" + std::to_string(fd.get()));
  if (stale_totals) {
    static const std::regex totals("Free (blocks|inodes) count wrong \\([0-9]+, counted=[0-9]+\\)\\.\nFix\\? no\n");
    outcome.output = std::regex_replace(outcome.output, totals, "");
    outcome.status = 0;
  }
  // Some complaints do not show in the status.
  const bool complains =
      outcome.output.find("? no") != std::string::npos || outcome.output.find("look bad") != std::string::npos;
  return outcome.status == 0 && !complains ? "" : outcome.output;
}

}  // namespace dadi::fuzz
