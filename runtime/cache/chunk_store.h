// The chunks of one blob on disk, shared by all processes that read it.
#pragma once

#include <filesystem>
#include <vector>

#include "libformat/base/unique_fd.h"
#include "libformat/blob/blob_reader.h"
#include "runtime/cache/chunk_map.h"

namespace dadi::cache {

// Whose files are good enough.
enum class Trust {
  kOwn,     // this user's, that nobody else can write
  kShared,  // anybody's: a folder that hosts share. What is in it is verified as all is
};

// An exclusive flock() on an open file, given up after a while rather than waited for. Where the file system knows no
// locks, it is held by all: then two writers may undo each other's chunks, which their checksums show.
class FolderLock {
 public:
  // Errors: busy (somebody held it for two seconds), io.
  static Result<FolderLock> take(int fd);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&&) = delete;

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

// Two files: HEX.data has a blob's bytes at their own offsets, with holes; HEX.map says what of it counts. A chunk's
// record is written when its bytes are on disk (fdatasync), so neither kill -9 nor a power cut makes a chunk that is
// not whole; what a disk makes of it later, checksums tell. Nothing is mapped: a file that is cut short is no SIGBUS.
//
// Readers take no lock. Writers and droppers hold one on the map. Who has the blob open holds a shared one on the data,
// so that its files are not removed. Thread-safe.
class ChunkStore {
 public:
  struct Chunk {
    std::uint64_t number = 0;
    std::span<const std::byte> data;
  };
  struct Use {
    std::uint64_t number = 0;
    std::uint32_t stamp = 0;
  };

  // Opens the files of `wanted`'s blob in `folder`, and makes them where they are missing or not what they should be.
  // Of files that exist, the chunk size stands. REQUIRES: the caller holds the folder's lock.
  // Errors: denied (another's files), io, exhausted …
  static Result<ChunkStore> open(const std::filesystem::path& folder, const Geometry& wanted, Trust trust);
  // Only what is there. Errors: not_found, corruption, denied, io.
  static Result<ChunkStore> open_existing(const std::filesystem::path& folder, const std::string& hex, Trust trust);

  const Geometry& geometry() const { return geometry_; }

  // Bytes of one chunk, verified. Errors: not_found (the chunk is absent), corruption (it is damaged), would_block
  // (memory_only), io.
  Result<void> read(std::uint64_t number, std::uint64_t offset, std::span<std::byte> out, bool memory_only) const;
  bool has(std::uint64_t number) const;

  // Keeps whole chunks. Returns when they are durable and everybody sees them. Errors: exhausted (a full disk), io,
  // busy.
  Result<void> write(std::span<const Chunk> chunks, std::uint32_t stamp) const;
  // Notes that these were used; chunks that are gone stay so.
  Result<void> touch(std::span<const std::uint64_t> numbers, std::uint32_t stamp) const;
  // Forgets these and gives their room back. Those of a file system that cannot punch holes go all together.
  Result<void> drop(std::span<const std::uint64_t> numbers) const;

  // Gives back the room of chunks that were written and never counted, since the writer was killed or the disk full.
  // `present`: what uses() just gave. Returns the bytes that came free.
  std::uint64_t reclaim(std::span<const Use> present) const;

  // The chunks that are there, in order.
  Result<std::vector<Use>> uses() const;

  // Whether all chunks together had the blob's digest, and none went since.
  bool whole() const;
  Result<void> mark_whole() const;

  // What the files take on disk.
  Bytes room() const;
  // Removes the files, unless somebody else has the blob open; says whether it did. REQUIRES: the folder's lock.
  bool remove_unused(const std::filesystem::path& folder) const;
  static bool in_use(const std::filesystem::path& folder, const std::string& hex);

 private:
  ChunkStore(Geometry geometry, UniqueFd data, UniqueFd map);
  Result<std::optional<Record>> record(std::uint64_t number, bool memory_only) const;
  Result<void> set_whole(std::uint64_t value) const;

  Geometry geometry_;
  UniqueFd data_;
  UniqueFd map_;
  bool in_memory_;  // the file system is: a read does not wait
};

}  // namespace dadi::cache
