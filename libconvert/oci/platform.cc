#include "libconvert/oci/platform.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "libformat/base/ascii.h"

namespace dadi::oci {

namespace {

struct Alias {
  std::string_view name;
  std::string_view architecture;
  std::string_view variant;  // when the platform states none
};

constexpr std::array kAliases{
    Alias{"x86_64", "amd64", ""}, Alias{"x86-64", "amd64", ""}, Alias{"aarch64", "arm64", ""}, Alias{"i386", "386", ""},
    Alias{"i686", "386", ""},     Alias{"armhf", "arm", "v7"},  Alias{"armel", "arm", "v6"},
};

bool is_word(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
  });
}

// The number in "v7" (of "v8.1", the 8). None: not of this form.
std::optional<unsigned> level(const Platform& normal) {
  std::string_view text = normal.variant;
  if (text.empty()) {
    if (normal.architecture == "arm64") return 8;
    if (normal.architecture == "amd64") return 1;
    return std::nullopt;
  }
  if (text.front() == 'v') text.remove_prefix(1);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number > 99 || (end != text.data() + text.size() && *end != '.')) return std::nullopt;
  return number;
}

}  // namespace

std::string Platform::to_string() const {
  std::string text = os + "/" + architecture;
  if (!variant.empty()) text += "/" + variant;
  return text;
}

Result<Platform> parse_platform(std::string_view text) {
  std::array<std::string, 3> parts;
  std::size_t count = 0;
  for (std::string_view rest = text;;) {
    const std::size_t slash = rest.find('/');
    if (count == parts.size())
      return Error::invalid_argument("\"{}\" is not a platform (OS/ARCHITECTURE/VARIANT)", text);
    parts[count++] = lower_ascii(rest.substr(0, slash));
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (!std::ranges::all_of(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(count), is_word))
    return Error::invalid_argument("\"{}\" is not a platform (OS/ARCHITECTURE/VARIANT)", text.substr(0, 80));
  if (count == 1)
    return normalized({.os = "linux", .architecture = parts[0], .variant = {}, .os_version = {}, .os_features = {}});
  return normalized(
      {.os = parts[0], .architecture = parts[1], .variant = parts[2], .os_version = {}, .os_features = {}});
}

Platform host_platform() {
  Platform platform;
  platform.os = "linux";
#if defined(__x86_64__)
  platform.architecture = "amd64";
#elif defined(__aarch64__)
  platform.architecture = "arm64";
#elif defined(__riscv) && __riscv_xlen == 64
  platform.architecture = "riscv64";
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
  platform.architecture = "ppc64le";
#elif defined(__i386__)
  platform.architecture = "386";
#elif defined(__arm__)
  platform.architecture = "arm";
#else
#error "which name does Go have for this machine?"
#endif
  return normalized(platform);
}

Platform normalized(Platform platform) {
  platform.os = lower_ascii(platform.os);
  platform.architecture = lower_ascii(platform.architecture);
  platform.variant = lower_ascii(platform.variant);
  if (platform.os == "macos") platform.os = "darwin";
  for (const Alias& alias : kAliases) {
    if (platform.architecture != alias.name) continue;
    platform.architecture = alias.architecture;
    if (platform.variant.empty()) platform.variant = alias.variant;
    break;
  }
  const std::string& variant = platform.variant;
  if (platform.architecture == "arm64" && (variant == "8" || variant == "v8")) platform.variant.clear();
  if (platform.architecture == "amd64" && variant == "v1") platform.variant.clear();
  if (platform.architecture == "arm" && variant.empty()) platform.variant = "v7";
  if (platform.architecture == "arm" && variant.size() == 1) platform.variant.insert(0, "v");
  return platform;
}

std::optional<unsigned> match_rank(const Platform& wanted, const Platform& candidate) {
  const Platform want = normalized(wanted);
  const Platform have = normalized(candidate);
  if (want.os != have.os || want.architecture != have.architecture) return std::nullopt;
  if (want.variant == have.variant) return 0;
  // Each of these families runs what was built for its older members.
  if (want.architecture != "arm" && want.architecture != "arm64" && want.architecture != "amd64") return std::nullopt;
  const auto wanted_level = level(want);
  const auto level_here = level(have);
  if (!wanted_level || !level_here || *level_here > *wanted_level) return std::nullopt;
  // One more, since "v8" and "v8.1" differ though their numbers do not.
  return *wanted_level - *level_here + 1;
}

}  // namespace dadi::oci
