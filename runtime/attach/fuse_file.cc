#define FUSE_USE_VERSION 312
#include "runtime/attach/fuse_file.h"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/falloc.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <new>
#include <optional>
#include <utility>
#include <vector>

namespace dadi::attach {
namespace {

constexpr fuse_ino_t kFileInode = 2;
constexpr double kForever = 1e9;          // seconds: names and attributes never change
constexpr std::size_t kMostWaiting = 64;  // threads
constexpr unsigned kMostInFlight = 256;   // requests that the kernel hands out at once
constexpr unsigned kLargestRequest = 1 << 20;
constexpr auto kGrace = std::chrono::seconds(1);

Error mount_error(const char* what) {
  if (errno == EPERM || errno == EACCES) return Error::from_errno(errno, what).with_hint("be root");
  return Error::host_lacks("{}", Error::from_errno(errno, what).message());
}

// A file system of `type`, configured and mounted on no folder; it goes when the last descriptor into it does.
Result<UniqueFd> detached_mount(const char* type, std::span<const std::pair<const char*, std::string>> settings) {
  const UniqueFd context(::fsopen(type, FSOPEN_CLOEXEC));
  if (!context) return mount_error("fsopen");
  for (const auto& [key, value] : settings) {
    if (::fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0) != 0) return mount_error(key);
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return mount_error("fsconfig");
  UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
  if (!mount) return mount_error("fsmount");
  return mount;
}

int errno_of(const Error& error) {
  return error.code() == ErrorCode::kExhausted ? ENOSPC : EIO;
}

}  // namespace

// What libfuse calls. A request is replied to exactly once, from any thread.
struct FuseFile::Operations {
  static FuseFile& self(fuse_req_t request) { return *static_cast<FuseFile*>(fuse_req_userdata(request)); }

  static struct stat attributes(const FuseFile& file, fuse_ino_t inode) {
    struct stat info {};
    info.st_ino = inode;
    info.st_nlink = 1;
    info.st_mode = inode == FUSE_ROOT_ID ? S_IFDIR | 0500 : S_IFREG | (file.writer_ ? 0600 : 0400);
    if (inode == kFileInode) info.st_size = static_cast<off_t>(to_bytes(file.device_->size()).value);
    return info;
  }

  static void init(void*, fuse_conn_info* connection) {
    connection->max_write = kLargestRequest;  // and the largest read: libfuse derives the kernel's limit from it
    connection->max_background = kMostInFlight;
    connection->congestion_threshold = kMostInFlight;
    connection->want |= connection->capable & FUSE_CAP_ASYNC_DIO;
    connection->want &= ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  }

  static void lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
    const FuseFile& file = self(request);
    if (parent != FUSE_ROOT_ID || file.name_ != name) return void(fuse_reply_err(request, ENOENT));
    fuse_entry_param entry{};
    entry.ino = kFileInode;
    entry.attr = attributes(file, kFileInode);
    entry.attr_timeout = entry.entry_timeout = kForever;
    fuse_reply_entry(request, &entry);
  }

  static void getattr(fuse_req_t request, fuse_ino_t inode, fuse_file_info*) {
    const struct stat info = attributes(self(request), inode);
    fuse_reply_attr(request, &info, kForever);
  }

  static void open(fuse_req_t request, fuse_ino_t inode, fuse_file_info* info) {
    if (inode != kFileInode) return void(fuse_reply_err(request, EISDIR));
    if ((info->flags & O_ACCMODE) != O_RDONLY && !self(request).writer_) return void(fuse_reply_err(request, EROFS));
    info->direct_io = 1;
    fuse_reply_open(request, info);
  }

  static void read(fuse_req_t request, fuse_ino_t, std::size_t size, off_t offset, fuse_file_info*) {
    FuseFile& file = self(request);
    const Bytes end = to_bytes(file.device_->size());
    const Bytes start{static_cast<std::uint64_t>(offset)};
    const std::size_t length = start < end ? std::min<std::uint64_t>(size, (end - start).value) : 0;
    if (start.value % kSectorSize != 0 || length % kSectorSize != 0 || size > kLargestRequest) {
      return void(fuse_reply_err(request, EINVAL));  // the loop device reads in whole sectors
    }
    ReadContext context;
    context.memory_only = true;
    if (answer(request, *file.device_, whole_sectors(start), length, context)) return;
    file.waiting_->submit([request, &file, start, length] {
      ReadContext patient;
      patient.stop = file.stop_.get_token();
      answer(request, *file.device_, whole_sectors(start), length, patient);
    });
  }

  // The range in sectors; nothing if it is none of the device's.
  struct Range {
    Sectors at;
    Sectors length;
  };
  static std::optional<Range> range_of(const FuseFile& file, off_t offset, std::uint64_t length) {
    const auto start = static_cast<std::uint64_t>(offset);
    const std::uint64_t end = to_bytes(file.device_->size()).value;
    if (start % kSectorSize != 0 || length % kSectorSize != 0 || start > end || length > end - start)
      return std::nullopt;
    return Range{whole_sectors(Bytes{start}), whole_sectors(Bytes{length})};
  }

  // Has `change` done, where it may wait, and replied to: it gives what a Result<void> is.
  template <typename Change, typename Reply>
  static void change(fuse_req_t request, FuseFile& file, Change change, Reply reply) {
    file.waiting_->submit([request, change = std::move(change), reply] {
      const Result<void> changed = change();
      changed ? reply(request) : void(fuse_reply_err(request, errno_of(changed.error())));
    });
  }

  // The data is copied, because it is the caller's only for so long; the caller takes the next request.
  static void write(fuse_req_t request, fuse_ino_t, const char* bytes, std::size_t size, off_t offset,
                    fuse_file_info*) {
    FuseFile& file = self(request);
    const Bytes at{static_cast<std::uint64_t>(offset)};
    const Bytes end = to_bytes(file.device_->size());
    if (!file.writer_ || at > end || size > (end - at).value) return void(fuse_reply_err(request, EINVAL));
    const std::shared_ptr<std::byte[]> data(new (std::nothrow) std::byte[size]);  // not zeroed
    if (!data) return void(fuse_reply_err(request, ENOMEM));
    std::memcpy(data.get(), bytes, size);
    change(
        request, file,
        [&file, at, data, size] {
          return file.write_bytes(at, {data.get(), size});
        },
        [size](fuse_req_t done) { fuse_reply_write(done, size); });
  }

  static void fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
    FuseFile& file = self(request);
    if (!file.writer_) return void(fuse_reply_err(request, 0));
    change(
        request, file, [&file] { return file.writer_->flush(); }, succeed);
  }

  // The loop device asks for a hole where zeros are wanted, so zeros it is, not merely a discard.
  static void fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length, fuse_file_info*) {
    FuseFile& file = self(request);
    const int kind = mode & ~FALLOC_FL_KEEP_SIZE;
    if (!file.writer_ || (kind != FALLOC_FL_PUNCH_HOLE && kind != FALLOC_FL_ZERO_RANGE))
      return void(fuse_reply_err(request, EOPNOTSUPP));
    const auto range = range_of(file, offset, static_cast<std::uint64_t>(length));
    if (!range) return void(fuse_reply_err(request, EINVAL));
    change(
        request, file, [&file, range = *range] { return file.writer_->write_zeroes(range.at, range.length); }, succeed);
  }

  static void succeed(fuse_req_t request) { fuse_reply_err(request, 0); }

  // False, and nothing replied, when memory has no answer and nothing else was to be asked.
  static bool answer(fuse_req_t request, const BlockReader& device, Sectors at, std::size_t length,
                     const ReadContext& context) {
    const std::unique_ptr<std::byte[]> buffer(new std::byte[length]);  // not zeroed
    const auto result = device.read_at(at, {buffer.get(), length}, context);
    if (result) {
      fuse_reply_buf(request, reinterpret_cast<const char*>(buffer.get()), length);
    } else if (context.memory_only && result.error().code() == ErrorCode::kWouldBlock) {
      return false;
    } else {
      fuse_reply_err(request, EIO);
    }
    return true;
  }
};

FuseFile::FuseFile(std::shared_ptr<const BlockReader> device, std::shared_ptr<BlockWriter> writer, std::string name)
    : device_(std::move(device)),
      writer_(std::move(writer)),
      name_(std::move(name)),
      waiting_(std::make_unique<runtime::WorkerPool>("dadid-fuse", kMostWaiting)) {}

Result<std::unique_ptr<FuseFile>> FuseFile::serve(std::shared_ptr<const BlockReader> device,
                                                  std::shared_ptr<BlockWriter> writer, std::string name) {
  std::unique_ptr<FuseFile> file(new FuseFile(std::move(device), std::move(writer), std::move(name)));
  DADI_CHECK(file->start());
  return file;
}

Result<void> FuseFile::start() {
  const UniqueFd device_fd(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device_fd) return mount_error("open /dev/fuse");
  fuse_lowlevel_ops operations{};
  operations.init = Operations::init;
  operations.lookup = Operations::lookup;
  operations.getattr = Operations::getattr;
  operations.open = Operations::open;
  operations.read = Operations::read;
  operations.write = Operations::write;
  operations.fsync = Operations::fsync;
  operations.fallocate = Operations::fallocate;
  char program[] = "dadid";
  char* words[] = {program, nullptr};
  fuse_args arguments = FUSE_ARGS_INIT(1, words);
  session_ = fuse_session_new(&arguments, &operations, sizeof operations, this);
  fuse_opt_free_args(&arguments);  // it has made a copy of its own of them
  if (session_ == nullptr) return Error::io("libfuse makes no session");
  DADI_CHECK(mount(device_fd.get()));
  const int for_session = ::fcntl(device_fd.get(), F_DUPFD_CLOEXEC, 0);
  if (for_session < 0) return Error::from_errno(errno, "duplicate a descriptor");
  if (fuse_session_mount(session_, fmt::format("/dev/fd/{}", for_session).c_str()) != 0) {
    return Error::io("libfuse does not take the mount");
  }
  thread_ = std::thread([this] { loop(); });
  return {};
}

Result<void> FuseFile::mount(int device_fd) {
  const std::pair<const char*, std::string> settings[] = {
      {"source", "dadid"},
      {"subtype", "dadi"},
      {"fd", std::to_string(device_fd)},
      {"rootmode", "40000"},
      {"user_id", std::to_string(::geteuid())},
      {"group_id", std::to_string(::getegid())},
  };
  DADI_TRY(mount_, detached_mount("fuse", settings));
  struct statx info {};
  if (::statx(mount_.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &info) != 0) {
    return Error::from_errno(errno, "look at the mount of FUSE");
  }
  connection_ = info.stx_dev_minor;
  return {};
}

Result<void> FuseFile::write_bytes(Bytes at, std::span<const std::byte> data) {
  if (at.value % kSectorSize == 0 && data.size() % kSectorSize == 0) return writer_->write_at(whole_sectors(at), data);
  const std::scoped_lock lock(parts_);
  const Sectors begin{at.value / kSectorSize};
  const Sectors end{divide_up((at + Bytes{data.size()}).value, kSectorSize)};
  std::vector<std::byte> whole(to_bytes(end - begin).value);
  ReadContext context;
  context.stop = stop_.get_token();
  DADI_CHECK(device_->read_at(begin, whole, context));
  std::ranges::copy(data, whole.begin() + static_cast<std::ptrdiff_t>((at - to_bytes(begin)).value));
  return writer_->write_at(begin, whole);
}

void FuseFile::loop() {
  fuse_loop_config* config = fuse_loop_cfg_create();
  const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 2U, 16U);
  fuse_loop_cfg_set_clone_fd(config, 1);
  fuse_loop_cfg_set_max_threads(config, threads);
  fuse_loop_cfg_set_idle_threads(config, threads);
  fuse_session_loop_mt(session_, config);
  fuse_loop_cfg_destroy(config);
  std::function<void()> unused;
  {
    const std::scoped_lock lock(mutex_);
    ended_ = true;
    unused = std::move(unused_);
    ended_wake_.notify_all();
  }
  if (unused) unused();
}

void FuseFile::when_unused(std::function<void()> unused) {
  {
    const std::scoped_lock lock(mutex_);
    if (!ended_) unused_ = std::exchange(unused, nullptr);
  }
  mount_ = UniqueFd();
  if (unused) unused();
}

FuseFile::~FuseFile() {
  mount_ = UniqueFd();  // the last of its descriptors ends the connection, and with it the loop
  if (thread_.joinable()) {
    std::unique_lock lock(mutex_);
    if (!ended_wake_.wait_for(lock, kGrace, [this] { return ended_; })) abort_fuse_connection(connection_);
    lock.unlock();
    thread_.join();
  }
  stop_.request_stop();
  waiting_.reset();  // replies to the session until its end
  if (session_ != nullptr) fuse_session_destroy(session_);
}

void abort_fuse_connection(unsigned connection) {
  const auto control = detached_mount("fusectl", {});
  if (!control) return;
  const UniqueFd file(::openat(control->get(), fmt::format("{}/abort", connection).c_str(), O_WRONLY | O_CLOEXEC));
  if (file) static_cast<void>(::write(file.get(), "1", 1) == 1);
}

}  // namespace dadi::attach
