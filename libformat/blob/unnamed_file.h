// A file without a name: for what must be read twice, and comes once.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "libformat/base/unique_fd.h"
#include "libformat/blob/blob_reader.h"
#include "libformat/blob/byte_stream.h"

namespace dadi {

// Nobody else sees it, and nothing is left of it when its last reader, or this process, is gone. One thread at a time.
class UnnamedFile final : public ByteSink {
 public:
  // Errors: those of creating a file in `directory`.
  static Result<UnnamedFile> create(const std::filesystem::path& directory);

  // Errors: exhausted (the disk is full), io.
  Result<void> write(std::span<const std::byte> data) override;

  // What was written, for reading. Call once, last.
  Result<SharedBlob> finish();

 private:
  UnnamedFile(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  Result<void> flush();

  UniqueFd fd_;
  std::string name_;  // for errors
  Bytes position_;    // of the file, after what was flushed
  std::vector<std::byte> pending_;
};

}  // namespace dadi
