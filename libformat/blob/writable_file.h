// The seam through which files that change are written: on a disk, or in a test that cuts the power.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "libformat/blob/blob_reader.h"

namespace dadi {

// A file that is read and written in place. Until sync() has returned, a power cut may leave out any part of what was
// written, in any order, down to single sectors; and zeros where the file became longer. Thread-safe: any number of
// threads may call at once; what overlapping calls leave is up to the file system.
class WritableFile : public BlobReader {
 public:
  // The size now, unlike that of other blobs.
  Bytes size() const override = 0;

  // All of `data`, or an error and no knowing how much of it. The file grows as it must.
  // Errors: io, exhausted (no room).
  virtual Result<void> write_at(Bytes offset, std::span<const std::byte> data) = 0;

  // Cuts the file, or lets it grow by a hole. Errors: io, exhausted.
  virtual Result<void> resize(Bytes size) = 0;

  // [offset, offset + length) reads as zeros from now on, and whole blocks of the file system in it give up their room.
  // The size stays. Errors: unsupported (the file system cannot), io.
  virtual Result<void> punch(Bytes offset, Bytes length) = 0;

  // The first stretch of data, in bytes [begin, end), that ends behind `from`; none: only holes follow. What is written
  // turns up here, with the rest of its block in the file system. Errors: io.
  struct Stretch {
    Bytes begin;
    Bytes end;
  };
  virtual Result<std::optional<Stretch>> next_data(Bytes from) const = 0;

  // Everything that was done to the file before is durable. After a failure nothing is known about what is.
  // Errors: io, exhausted.
  virtual Result<void> sync() = 0;
};

// Where files that belong together live. One thread at a time.
class WritableFolder {
 public:
  virtual ~WritableFolder() = default;

  // Errors: not_found, denied, io.
  virtual Result<std::shared_ptr<WritableFile>> open(const std::string& name) = 0;

  // Puts a file of this content in the place of whatever had that name: durable, and whole or not at all, whenever
  // power goes. A file that was open under that name stays what it was. Errors: denied, io, exhausted.
  virtual Result<std::shared_ptr<WritableFile>> replace(const std::string& name,
                                                        std::span<const std::byte> content) = 0;

  // The name is gone, durably, whether there was one or not. A file that was open under it stays what it was.
  // Errors: denied, io.
  virtual Result<void> remove(const std::string& name) = 0;

  // The size of the blocks in which files take room, in bytes.
  virtual Bytes block_size() const = 0;
};

}  // namespace dadi
