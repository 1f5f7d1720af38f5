#include "apps/dadi/added_archives.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "apps/dadi/sizes.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"
#include "libformat/blob/unnamed_file.h"
#include "libfs/archive_text.h"
#include "libfs/folder_archive.h"
#include "libfs/writer/path.h"

namespace dadi {
namespace {

constexpr int kLookInterval = 200;  // ms, after which a pipe's reader looks whether it shall stop

// Where --add points to.
struct Place {
  std::string path;
  std::string target;  // of a folder: where it goes in the image, "" being the root
  bool folder = false;
  bool pipe = false;
};

Result<std::string> parse_target(const std::string& text) {
  std::string target;
  for (const std::string& component : fs::clean_path(text)) {
    if (component.starts_with(".wh."))
      return Error::invalid_argument("{}: in a layer, such names delete files", fs::in_quotes(component));
    target += (target.empty() ? "" : "/") + component;
  }
  return target;
}

Result<Place> find(const std::string& word) {
  if (word == "-") return Place{.path = word, .target = {}, .folder = false, .pipe = true};
  struct stat status {};
  if (::stat(word.c_str(), &status) == 0)
    return Place{.path = word,
                 .target = {},
                 .folder = S_ISDIR(status.st_mode),
                 .pipe = S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode) || S_ISSOCK(status.st_mode)};
  const Error missing = Error::from_errno(errno, fmt::format("open {}", word));
  const std::size_t colon = word.rfind(':');
  if (colon == std::string::npos || ::stat(word.substr(0, colon).c_str(), &status) != 0) return missing;
  Place place{.path = word.substr(0, colon), .target = {}, .folder = true, .pipe = false};
  if (!S_ISDIR(status.st_mode))
    return Error::invalid_argument("{} is no folder, and an archive has its own paths", place.path);
  if (word[colon + 1] != '/')
    return Error::invalid_argument("\"{}\" is no path in an image: those begin with /", word.substr(colon + 1));
  DADI_TRY(place.target, parse_target(word.substr(colon + 1)));
  return place;
}

Result<std::optional<fs::Owner>> parse_owner(const AddOptions& options) {
  if (options.keep_owner) return std::optional<fs::Owner>();
  if (options.chown.empty()) return std::optional(fs::Owner{});
  fs::Owner owner;
  const char* const end = options.chown.data() + options.chown.size();
  const auto user = std::from_chars(options.chown.data(), end, owner.user);
  if (user.ec == std::errc() && user.ptr != end && *user.ptr == ':') {
    const auto group = std::from_chars(user.ptr + 1, end, owner.group);
    if (group.ec == std::errc() && group.ptr == end) return std::optional(owner);
  }
  return Error::invalid_argument("--chown {}: not two numbers, as in 1000:1000", options.chown);
}

Result<UnnamedFile> temporary_file() {
  std::error_code failed;
  const auto folder = std::filesystem::temp_directory_path(failed);
  if (failed) return Error::from_errno(failed.value(), "find a folder for temporary files");
  return UnnamedFile::create(folder);
}

// On its way to a file: hashed, counted, and shown.
class WatchedFile final : public ByteSink {
 public:
  WatchedFile(UnnamedFile& file, Bytes most, Progress::Task& task)
      : file_(file), budget_({.size = most}), task_(task) {}

  Result<void> write(std::span<const std::byte> data) override {
    DADI_CHECK(budget_.take({data.size()}));
    hasher_.update(data);
    task_.advance({data.size()});
    return file_.write(data);
  }
  Digest digest() { return hasher_.finish(); }

 private:
  UnnamedFile& file_;
  fs::ArchiveBudget budget_;
  Progress::Task& task_;
  Hasher hasher_;
};

// What comes through a pipe, terminal or socket, until its writers are gone.
Result<SharedBlob> read_pipe(Session& session, const std::string& path, Bytes most, Progress::Task& task) {
  UniqueFd opened;
  if (path != "-") opened = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (path != "-" && !opened) return Error::from_errno(errno, fmt::format("open {}", path));
  const int fd = opened ? opened.get() : STDIN_FILENO;
  DADI_TRY(UnnamedFile file, temporary_file());
  WatchedFile watched(file, most, task);
  std::vector<std::byte> buffer(std::size_t{256} << 10);
  for (;;) {
    if (session.stop().stop_requested()) return Error::cancelled("stopped");
    pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, kLookInterval) == 0) continue;
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return Error::from_errno(errno, fmt::format("read {}", path));
    if (n == 0) return file.finish();
    DADI_CHECK(watched.write(std::span(buffer).first(static_cast<std::size_t>(n))));
  }
}

Result<pipeline::AddedArchive> open_folder(Session& session, const Place& place, const AddOptions& options, Bytes most,
                                           Progress::Task& task) {
  DADI_TRY(const auto owner, parse_owner(options));
  DADI_TRY(UnnamedFile file, temporary_file());
  WatchedFile watched(file, most, task);
  DADI_TRY(
      const fs::FolderArchive written,
      fs::write_folder_archive(place.path, watched, {.target = place.target, .owner = owner, .stop = session.stop()}));
  if (!written.sockets.empty())
    session.note(fmt::format("{}: {} left out, as in {}", place.path, format_count(written.sockets.size(), "socket"),
                             fs::in_quotes(written.sockets.front())));
  if (written.entries == 0) session.note(fmt::format("{}: the folder is empty", place.path));
  const Digest diff_id = watched.digest();
  DADI_TRY(SharedBlob archive, file.finish());
  return pipeline::AddedArchive{.name = {},
                                .created_by = fmt::format("dadi build --add {}", diff_id.to_string()),
                                .archive = std::move(archive),
                                .diff_id = diff_id};
}

Result<pipeline::AddedArchive> open_archive(Session& session, const Place& place, Bytes most) {
  SharedBlob archive;
  if (place.pipe) {
    const auto task = session.progress().start(fmt::format("receive {}", place.path), {});
    DADI_TRY(archive, read_pipe(session, place.path, most, *task));
    task->finish();
  } else {
    DADI_TRY(archive, FileBlob::open(place.path));
  }
  const auto task = session.progress().start(fmt::format("read {}", place.path), archive->size());
  DADI_TRY(const Digest diff_id,
           pipeline::diff_id_of(archive, most, session.stop(), [&](Bytes read) { task->set_done(read); }));
  task->finish();
  return pipeline::AddedArchive{.name = {},
                                .created_by = fmt::format("dadi build --add {}", diff_id.to_string()),
                                .archive = std::move(archive),
                                .diff_id = diff_id};
}

Result<pipeline::AddedArchive> open(Session& session, const std::string& word, const AddOptions& options, Bytes most) {
  DADI_TRY(const Place place, find(word));
  if (!place.folder) return open_archive(session, place, most);
  const auto task = session.progress().start(fmt::format("read {}", place.path), {});
  auto opened = open_folder(session, place, options, most, *task);
  task->finish();
  return opened;
}

}  // namespace

void add_add_options(Command& command, AddOptions& options) {
  command.option("--chown", options.chown, "UID:GID", "Whose the files of added folders are; default: root's")
      .flag("--keep-owner", options.keep_owner, "They are whose they are on this host")
      .instead_of_previous();
}

Result<std::vector<pipeline::AddedArchive>> open_added(Session& session, const std::vector<std::string>& words,
                                                       const AddOptions& options, Bytes most) {
  DADI_CHECK(parse_owner(options));
  if (std::ranges::count(words, "-") > 1)
    return Error::invalid_argument("--add -: standard input can be read once only");
  std::vector<pipeline::AddedArchive> archives;
  for (const std::string& word : words) {
    const std::string name = fmt::format("--add {}", word);
    DADI_TRY(pipeline::AddedArchive archive, open(session, word, options, most).context("{}", name));
    archive.name = name;
    archives.push_back(std::move(archive));
  }
  return archives;
}

}  // namespace dadi
