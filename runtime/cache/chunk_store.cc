#include "runtime/cache/chunk_store.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "libformat/base/endian.h"
#include "libformat/blob/file_blob.h"

namespace dadi::cache {

namespace {

constexpr auto kPatience = std::chrono::seconds(2);

Result<void> write_at(int fd, std::uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, "write to the cache");
    data = data.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<void> read_at(int fd, std::uint64_t offset, std::span<std::byte> out, bool nowait) {
  while (!out.empty()) {
    const iovec target{out.data(), out.size()};
    const ssize_t n = ::preadv2(fd, &target, 1, static_cast<off_t>(offset), nowait ? RWF_NOWAIT : 0);
    if (n < 0 && errno == EINTR) continue;
    if (nowait && (n < 0 || static_cast<std::size_t>(n) != out.size())) return Error::would_block("not in memory");
    if (n < 0) return Error::from_errno(errno, "read from the cache");
    if (n == 0) return Error::not_found("the cache's file ends before");
    out = out.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
  return {};
}

// A regular file, whatever stands at `path`. Errors: not_found, denied (another's), corruption (something else), io.
Result<UniqueFd> open_regular(const std::filesystem::path& path, int flags, Trust trust) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | flags,
                     trust == Trust::kShared ? 0644 : 0600));
  if (!fd && (errno == ELOOP || errno == EISDIR || errno == ENXIO))
    return Error::corruption("{} is not a file", path.string());
  if (!fd) return Error::from_errno(errno, fmt::format("open {}", path.string()));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return Error::from_errno(errno, fmt::format("stat {}", path.string()));
  if (!S_ISREG(status.st_mode) || status.st_nlink != 1) return Error::corruption("{} is not a file", path.string());
  if (trust == Trust::kOwn && (status.st_uid != ::geteuid() || (status.st_mode & 022) != 0))
    return Error::denied("{} can be written by others", path.string());
  return fd;
}

std::filesystem::path data_path(const std::filesystem::path& folder, const std::string& hex) {
  return folder / (hex + ".data");
}
std::filesystem::path map_path(const std::filesystem::path& folder, const std::string& hex) {
  return folder / (hex + ".map");
}

std::uint64_t room_of(int fd) {
  struct stat status {};
  return ::fstat(fd, &status) == 0 ? static_cast<std::uint64_t>(status.st_blocks) * 512 : 0;
}

}  // namespace

Result<FolderLock> FolderLock::take(int fd) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOLCK || errno == EOPNOTSUPP) return FolderLock(-1);
    if (errno != EWOULDBLOCK) return Error::from_errno(errno, "lock the cache");
    if (std::chrono::steady_clock::now() >= end) return Error::busy("another process holds the cache's lock");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return FolderLock(fd);
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::flock(fd_, LOCK_UN);
}

ChunkStore::ChunkStore(Geometry geometry, UniqueFd data, UniqueFd map)
    : geometry_(std::move(geometry)), data_(std::move(data)), map_(std::move(map)) {
  struct statfs status {};
  in_memory_ = ::fstatfs(data_.get(), &status) == 0 && status.f_type == TMPFS_MAGIC;
  ::flock(data_.get(), LOCK_SH | LOCK_NB);  // held by the open file; in use
}

Result<ChunkStore> ChunkStore::open_existing(const std::filesystem::path& folder, const std::string& hex, Trust trust) {
  DADI_TRY(UniqueFd map, open_regular(map_path(folder, hex), 0, trust));
  std::array<std::byte, kHeaderSize> header{};
  if (!read_at(map.get(), 0, header, false)) return Error::corruption("{}.map is cut short", hex);
  DADI_TRY(const Geometry geometry, parse_header(header).context("{}.map", hex));
  struct stat status {};
  if (geometry.digest().hex() != hex || ::fstat(map.get(), &status) != 0 ||
      static_cast<std::uint64_t>(status.st_size) != geometry.map_size())
    return Error::corruption("{}.map is not of this blob", hex);
  DADI_TRY(UniqueFd data, open_regular(data_path(folder, hex), 0, trust));
  return ChunkStore(geometry, std::move(data), std::move(map));
}

Result<ChunkStore> ChunkStore::open(const std::filesystem::path& folder, const Geometry& wanted, Trust trust) {
  const std::string hex = wanted.digest().hex();
  auto existing = open_existing(folder, hex, trust);
  if (existing && existing->geometry().size() == wanted.size()) return existing;
  if (!existing && existing.error().code() != ErrorCode::kNotFound && existing.error().code() != ErrorCode::kCorruption)
    return std::move(existing).error();
  // Who still has the old ones open goes on with files that have no name.
  ::unlink(map_path(folder, hex).c_str());
  ::unlink(data_path(folder, hex).c_str());
  DADI_TRY(UniqueFd data, open_regular(data_path(folder, hex), O_CREAT | O_EXCL, trust));
  DADI_TRY(UniqueFd map, open_regular(map_path(folder, hex), O_CREAT | O_EXCL, trust));
  if (::ftruncate(data.get(), static_cast<off_t>(wanted.size().value)) != 0 ||
      ::ftruncate(map.get(), static_cast<off_t>(wanted.map_size())) != 0)
    return Error::from_errno(errno, "make a file in the cache");
  DADI_CHECK(write_at(map.get(), 0, encode_header(wanted)));
  DADI_CHECK(sync_directory(folder));
  return ChunkStore(wanted, std::move(data), std::move(map));
}

// Nothing if the chunk is absent.
Result<std::optional<Record>> ChunkStore::record(std::uint64_t number, bool memory_only) const {
  std::vector<std::byte> bytes(geometry_.record_size());
  DADI_CHECK(read_at(map_.get(), geometry_.record_at(number), bytes, memory_only && !in_memory_));
  return parse_record(geometry_, number, bytes);
}

bool ChunkStore::has(std::uint64_t number) const {
  const auto found = record(number, false);
  return found && found->has_value();
}

Result<void> ChunkStore::read(std::uint64_t number, std::uint64_t offset, std::span<std::byte> out,
                              bool memory_only) const {
  DADI_TRY(const auto found, record(number, memory_only));
  if (!found) return Error::not_found("not in the cache");
  const std::uint64_t from = offset / kGranule * kGranule;
  const std::uint64_t to = std::min(round_up(offset + out.size(), kGranule), geometry_.length(number));
  const std::uint64_t at = number * geometry_.chunk() + from;
  const bool nowait = memory_only && !in_memory_;
  const auto verified = [&](std::span<const std::byte> granules) -> Result<void> {
    if (matches(*found, from / kGranule, granules)) return {};
    DADI_TRY(const auto now, record(number, memory_only));
    if (!now || now->sums != found->sums) return Error::not_found("gone from the cache meanwhile");
    return Error::corruption("chunk {} in the cache is damaged", number);
  };
  if (to - from == out.size()) {
    DADI_CHECK(read_at(data_.get(), at, out, nowait));
    return verified(out);
  }
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(to - from);
  const std::span<std::byte> granules(buffer.get(), to - from);
  DADI_CHECK(read_at(data_.get(), at, granules, nowait));
  DADI_CHECK(verified(granules));
  std::memcpy(out.data(), granules.data() + (offset - from), out.size());
  return {};
}

Result<void> ChunkStore::write(std::span<const Chunk> chunks, std::uint32_t stamp) const {
  DADI_TRY(const auto lock, FolderLock::take(map_.get()));
  std::vector<Chunk> missing;
  for (const Chunk& chunk : chunks) {
    // What another process put there meanwhile is as good, and may be being read.
    std::vector<std::byte> there(chunk.data.size());
    if (!has(chunk.number) || !read(chunk.number, 0, there, false) || !std::ranges::equal(there, chunk.data))
      missing.push_back(chunk);
  }
  for (const Chunk& chunk : missing) DADI_CHECK(write_at(data_.get(), chunk.number * geometry_.chunk(), chunk.data));
  if (::fdatasync(data_.get()) != 0) return Error::from_errno(errno, "make a chunk in the cache durable");
  for (const Chunk& chunk : missing)
    DADI_CHECK(write_at(map_.get(), geometry_.record_at(chunk.number),
                        encode_record(geometry_, chunk.number, chunk.data, stamp)));
  return {};
}

Result<void> ChunkStore::touch(std::span<const std::uint64_t> numbers, std::uint32_t stamp) const {
  DADI_TRY(const auto lock, FolderLock::take(map_.get()));
  std::array<std::byte, 4> field{};
  store_le<std::uint32_t>(field, 0, stamp);
  for (const std::uint64_t number : numbers)
    if (has(number)) DADI_CHECK(write_at(map_.get(), geometry_.record_at(number) + 4, field));
  return {};
}

Result<void> ChunkStore::drop(std::span<const std::uint64_t> numbers) const {
  DADI_TRY(const auto lock, FolderLock::take(map_.get()));
  DADI_CHECK(set_whole(0));
  const std::vector<std::byte> absent(geometry_.record_size());
  for (const std::uint64_t number : numbers) DADI_CHECK(write_at(map_.get(), geometry_.record_at(number), absent));
  for (const std::uint64_t number : numbers) {
    const auto at = static_cast<off_t>(number * geometry_.chunk());
    if (::fallocate(data_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
                    static_cast<off_t>(geometry_.length(number))) == 0)
      continue;
    if (errno != EOPNOTSUPP && errno != ENOSYS) return Error::from_errno(errno, "give room in the cache back");
    for (std::uint64_t i = 0; i < geometry_.chunks(); ++i)
      DADI_CHECK(write_at(map_.get(), geometry_.record_at(i), absent));
    if (::ftruncate(data_.get(), 0) != 0 || ::ftruncate(data_.get(), static_cast<off_t>(geometry_.size().value)) != 0)
      return Error::from_errno(errno, "give room in the cache back");
    break;
  }
  return {};
}

std::uint64_t ChunkStore::reclaim(std::span<const Use> present) const {
  const std::uint64_t before = room_of(data_.get());
  std::uint64_t counted = 0;
  for (const Use& use : present) counted += round_up(geometry_.length(use.number), 4096);
  if (before <= counted + geometry_.chunk()) return 0;  // what the file system needs for itself is no loss
  std::vector<std::uint64_t> absent;
  for (std::uint64_t i = 0; i < geometry_.chunks(); ++i) {
    if (!present.empty() && present.front().number == i) {
      present = present.subspan(1);
    } else if (!has(i)) {
      absent.push_back(i);
    }
  }
  if (!drop(absent)) return 0;
  return before - std::min(before, room_of(data_.get()));
}

Result<std::vector<ChunkStore::Use>> ChunkStore::uses() const {
  std::vector<Use> uses;
  const std::uint64_t batch = std::max<std::uint64_t>(1, (std::uint64_t{1} << 20) / geometry_.record_size());
  std::vector<std::byte> bytes;
  for (std::uint64_t i = 0; i < geometry_.chunks();) {
    const std::uint64_t count = std::min(batch, geometry_.chunks() - i);
    bytes.resize(count * geometry_.record_size());
    DADI_CHECK(read_at(map_.get(), geometry_.record_at(i), bytes, false));
    for (std::uint64_t k = 0; k < count; ++k, ++i) {
      const auto found =
          parse_record(geometry_, i, std::span(bytes).subspan(k * geometry_.record_size(), geometry_.record_size()));
      if (found) uses.push_back({i, found->stamp});
    }
  }
  return uses;
}

bool ChunkStore::whole() const {
  std::array<std::byte, 8> field{};
  return read_at(map_.get(), kWholeAt, field, false) && load_le<std::uint64_t>(field, 0) == 1;
}

Result<void> ChunkStore::set_whole(std::uint64_t value) const {
  std::array<std::byte, 8> field{};
  store_le<std::uint64_t>(field, 0, value);
  return write_at(map_.get(), kWholeAt, field);
}

Result<void> ChunkStore::mark_whole() const {
  DADI_TRY(const auto lock, FolderLock::take(map_.get()));
  DADI_TRY(const auto all, uses());
  if (all.size() != geometry_.chunks()) return Error::exhausted("parts of the blob went from the cache again");
  return set_whole(1);
}

Bytes ChunkStore::room() const {
  return {room_of(data_.get()) + room_of(map_.get())};
}

bool ChunkStore::remove_unused(const std::filesystem::path& folder) const {
  // Turns this store's own shared lock into an exclusive one, if it is the only one.
  if (::flock(data_.get(), LOCK_EX | LOCK_NB) != 0) return false;
  const std::string hex = geometry_.digest().hex();
  ::unlink(map_path(folder, hex).c_str());
  ::unlink(data_path(folder, hex).c_str());
  return true;
}

bool ChunkStore::in_use(const std::filesystem::path& folder, const std::string& hex) {
  const UniqueFd fd(::open(data_path(folder, hex).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  return fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

}  // namespace dadi::cache
