// Blobs in files: reading one, and writing one that appears whole or not at all.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "libformat/base/unique_fd.h"
#include "libformat/blob/blob_reader.h"
#include "libformat/blob/byte_stream.h"

namespace dadi {

// An open file or block device. Its size is that at opening; a file that shrinks later gives io errors. What the page
// cache holds counts as memory, on file systems that can tell. Thread-safe.
class FileBlob final : public BlobReader {
 public:
  // Does not wait, whatever stands at `path`. Errors: not_found, denied, invalid_argument (a directory, pipe, terminal
  // or other thing without a size), io.
  static Result<std::shared_ptr<const FileBlob>> open(const std::filesystem::path& path);
  // One that is open already; `name` is what errors call it. Errors: as open().
  static Result<std::shared_ptr<const FileBlob>> of(UniqueFd fd, std::string name);

  Bytes size() const override { return size_; }
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override;
  int fd() const { return fd_.get(); }

 private:
  FileBlob(UniqueFd fd, Bytes size, std::string name) : fd_(std::move(fd)), size_(size), name_(std::move(name)) {}

  UniqueFd fd_;
  Bytes size_;
  std::string name_;
};

// A file being written under a temporary name in the destination's folder, and on its way to the disk while more comes;
// finish() hashes it once from the start, fsyncs file and folder, and renames it. Destroyed unfinished, it is removed.
// One thread at a time.
class FileBlobSink final : public BlobSink {
 public:
  // Where the finished blob goes, in the folder `directory`: its name may depend on its digest.
  using Namer = std::function<std::string(const Digest&)>;

  // What survives a power failure once finish() has returned.
  enum class Durable {
    kNothing,  // for files that live as long as the process
    kContent,  // not the name, which is going to be another one
    kYes,
  };

  // Errors: those of creating a file in `directory`.
  static Result<std::unique_ptr<FileBlobSink>> create(const std::filesystem::path& directory, Bytes head_size,
                                                      Namer name, Durable durable = Durable::kYes);
  ~FileBlobSink() override;

  Result<void> write(std::span<const std::byte> data) override;
  Result<BlobIdentity> finish(std::span<const std::byte> head) override;

 private:
  FileBlobSink(std::filesystem::path directory, std::filesystem::path temporary, UniqueFd fd, Bytes head_size,
               Namer name, Durable durable);
  Result<void> append(std::span<const std::byte> data);
  Result<void> flush();
  Result<Digest> hash() const;

  std::filesystem::path directory_;
  std::filesystem::path temporary_;  // empty once published
  UniqueFd fd_;
  Bytes head_size_;
  Namer name_;
  Durable durable_;
  Bytes position_;  // of the file, after what was flushed
  Bytes started_;   // up to where the kernel was told to write to the disk
  std::vector<std::byte> pending_;
};

// Replaces `path` by `content`, whole or not at all: temporary name, fsync, rename, fsync of the folder.
Result<void> replace_file(const std::filesystem::path& path, std::span<const std::byte> content);

// Makes the names in a folder durable.
Result<void> sync_directory(const std::filesystem::path& directory);

}  // namespace dadi
