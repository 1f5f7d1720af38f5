#include "apps/dadi/file_facts.h"

#include <ctime>

namespace dadi {
namespace {

std::string formatted(const tm& time, const char* format) {
  char text[64];
  return {text, strftime(text, sizeof text, format, &time)};
}

}  // namespace

std::string_view name_of(fs::FileType type) {
  switch (type) {
    case fs::FileType::kRegular:
      return "file";
    case fs::FileType::kDirectory:
      return "directory";
    case fs::FileType::kSymlink:
      return "symlink";
    case fs::FileType::kCharacterDevice:
      return "character-device";
    case fs::FileType::kBlockDevice:
      return "block-device";
    case fs::FileType::kFifo:
      return "fifo";
    case fs::FileType::kSocket:
      return "socket";
  }
  return "unknown";
}

std::string mode_text(const fs::Attributes& attributes) {
  constexpr std::string_view kTypes = "-dlcbps";  // in the order of FileType
  std::string text(1, kTypes[static_cast<std::size_t>(attributes.type)]);
  const unsigned mode = attributes.permissions;
  for (unsigned bit = 0; bit < 9; ++bit) text += (mode >> (8 - bit) & 1) != 0 ? "rwx"[bit % 3] : '-';
  // Set-user-id, set-group-id and sticky share a letter with the x that they modify.
  const auto special = [&](unsigned bit, std::size_t at, char with_x, char without) {
    if ((mode & bit) != 0) text[at] = text[at] == 'x' ? with_x : without;
  };
  special(04000, 3, 's', 'S');
  special(02000, 6, 's', 'S');
  special(01000, 9, 't', 'T');
  return text;
}

std::string local_time(const fs::Timestamp& time) {
  const time_t seconds = time.seconds;
  tm local{};
  return localtime_r(&seconds, &local) != nullptr ? formatted(local, "%Y-%m-%d %H:%M") : "?";
}

std::string rfc3339(const fs::Timestamp& time) {
  const time_t seconds = time.seconds;
  tm utc{};
  if (gmtime_r(&seconds, &utc) == nullptr) return "";
  return fmt::format("{}.{:09}Z", formatted(utc, "%Y-%m-%dT%H:%M:%S"), time.nanoseconds);
}

Json attributes_json(const fs::Attributes& attributes) {
  Json object = {{"type", name_of(attributes.type)},
                 {"mode", fmt::format("{:04o}", attributes.permissions)},
                 {"uid", attributes.uid},
                 {"gid", attributes.gid},
                 {"mtime", rfc3339(attributes.mtime)}};
  if (attributes.type == fs::FileType::kCharacterDevice || attributes.type == fs::FileType::kBlockDevice) {
    object["device"] = {attributes.device_major, attributes.device_minor};
  }
  return object;
}

}  // namespace dadi
