#include "runtime/attach/state_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi::attach {
namespace {

namespace fs = std::filesystem;

constexpr Bytes kRecordLimit{1 << 20};
constexpr std::size_t kLongestName = 64;
constexpr std::string_view kHalfWritten = ".tmp";

Result<Json> read_json(const fs::path& path) {
  DADI_TRY(const auto file, FileBlob::open(path));
  if (file->size() > kRecordLimit) return Error::corruption("{}: too large", path.string());
  DADI_TRY(const auto text, read_range(*file, {0}, file->size()));
  Json json = Json::parse(as_text(text), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return Error::corruption("{}: not JSON", path.string());
  return json;
}

// Whole or not at all, as others see it. It need not outlive a crash of the machine, so nothing is synced.
Result<void> write_json(const fs::path& path, const Json& json) {
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
  const fs::path temporary = path.string() + fmt::format(".{}{}", getpid(), kHalfWritten);
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Error::from_errno(errno, "create " + temporary.string());
  const ssize_t written = ::write(fd.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size()) || ::rename(temporary.c_str(), path.c_str()) != 0) {
    const int number = written >= 0 && written != static_cast<ssize_t>(text.size()) ? ENOSPC : errno;
    ::unlink(temporary.c_str());
    return Error::from_errno(number, "write " + path.string());
  }
  return {};
}

// A folder of this user's that nobody else may enter.
Result<void> make_private_folder(const fs::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return Error::from_errno(errno, "create " + path.string());
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return Error::from_errno(errno, path.string());
  if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 022) != 0) {
    return Error::denied("{}: not a folder of this user's alone", path.string()).with_hint("remove it, and try again");
  }
  return {};
}

Result<void> unlink_if_there(const fs::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return Error::from_errno(errno, "remove " + path.string());
  return {};
}

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code ignored;
  for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    paths.push_back(entry->path());
  }
  std::ranges::sort(paths);
  return paths;
}

}  // namespace

bool is_name(std::string_view text) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !text.empty() && text.size() <= kLongestName && is_letter(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return is_letter(c) || c == '.' || c == '-'; });
}

bool DeviceFolder::exists() const {
  std::error_code ignored;
  return fs::is_directory(path_, ignored);
}

pid_t DeviceFolder::pid() const {
  std::ifstream file(lock_path());
  pid_t pid = 0;
  file >> pid;
  return file ? pid : 0;
}

Result<DeviceSpec> DeviceFolder::spec() const {
  DADI_TRY(const Json json, read_json(path_ / "device.json"));
  return device_spec_of(json);
}

Result<DeviceState> DeviceFolder::state() const {
  DADI_TRY(const Json json, read_json(path_ / "state.json"));
  return device_state_of(json);
}

std::optional<DeviceState> DeviceFolder::known_state() const {
  auto known = state();
  return known ? std::optional(std::move(*known)) : std::nullopt;
}

Result<void> DeviceFolder::write_spec(const DeviceSpec& spec) const {
  DADI_CHECK(make_private_folder(path_));
  return write_json(path_ / "device.json", to_json(spec));
}

Result<void> DeviceFolder::write_state(const DeviceState& state) const {
  return write_json(path_ / "state.json", to_json(state));
}

Result<void> DeviceFolder::forget_state() const {
  return unlink_if_there(path_ / "state.json");
}

Result<void> DeviceFolder::remove() const {
  std::error_code error;
  if (const auto known = spec(); known && known->writable && known->writable->temporary) {
    const fs::path folder = known->writable->folder;
    fs::remove_all(folder, error);
    if (error) return Error::from_errno(error.value(), "remove " + folder.string());
  }
  fs::remove_all(path_, error);
  if (error) return Error::from_errno(error.value(), "remove " + path_.string());
  return {};
}

fs::path StateFolder::location() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  struct stat info {};
  // A folder that another user owns is another user's: a root shell that was made from a user's has theirs.
  if (runtime != nullptr && *runtime == '/' && ::stat(runtime, &info) == 0 && info.st_uid == geteuid()) {
    return fs::path(runtime) / "dadi";
  }
  return "/run/dadi";
}

Result<StateFolder> StateFolder::open() {
  StateFolder folder(location());
  for (const fs::path& path : {folder.path_, folder.path_ / "devices", folder.path_ / "attachments"}) {
    DADI_CHECK(make_private_folder(path).with_hint("attachments belong to root: sudo dadi …"));
  }
  return folder;
}

Result<std::optional<StateFolder>> StateFolder::find() {
  struct stat info {};
  if (::lstat(location().c_str(), &info) == 0) {
    DADI_TRY(StateFolder folder, open());
    return std::optional(std::move(folder));
  }
  if (errno == ENOENT) return std::optional<StateFolder>();
  return Error::from_errno(errno, location().string());
}

std::vector<DeviceFolder> StateFolder::devices() const {
  std::vector<DeviceFolder> found;
  for (const fs::path& path : sorted_entries(path_ / "devices")) found.emplace_back(path);
  return found;
}

std::vector<Attachment> StateFolder::attachments() const {
  std::vector<Attachment> found;
  for (const fs::path& path : sorted_entries(path_ / "attachments")) {
    if (path.extension() != ".json") continue;
    if (auto one = attachment(path.stem().string())) found.push_back(std::move(*one));
  }
  std::ranges::sort(found, {}, &Attachment::name);  // ".json" is not part of it
  return found;
}

std::vector<Attachment> StateFolder::attachments_of(const std::string& device_id) const {
  std::vector<Attachment> found = attachments();
  std::erase_if(found, [&](const Attachment& one) { return one.device_id != device_id; });
  return found;
}

fs::path StateFolder::attachment_path(const std::string& name) const {
  return path_ / "attachments" / (name + ".json");
}

Result<Attachment> StateFolder::attachment(const std::string& name) const {
  DADI_TRY(const Json json, read_json(attachment_path(name)));
  DADI_TRY(Attachment attachment, attachment_of(json));
  if (attachment.name != name || !is_name(attachment.name) || !is_name(attachment.device_id)) {
    return Error::corruption("attachment {}: names another", name);
  }
  return attachment;
}

Result<void> StateFolder::write(const Attachment& attachment) const {
  return write_json(attachment_path(attachment.name), to_json(attachment));
}

Result<void> StateFolder::remove(const Attachment& attachment) const {
  return unlink_if_there(attachment_path(attachment.name));
}

void StateFolder::remove_half_written() const {
  for (const fs::path& path : sorted_entries(path_ / "attachments")) {
    if (path.extension() == kHalfWritten) ::unlink(path.c_str());
  }
}

}  // namespace dadi::attach
