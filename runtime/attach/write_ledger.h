// Whether a device that is written to can outlive its process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "libformat/base/result.h"
#include "libformat/blob/block_writer.h"

namespace dadi::attach {

// Passes writes on, and counts in a file, which outlives the process, how many were confirmed and how many of these are
// flushed. A process that dies may take with it what was not flushed; but whoever wrote it still believes that it is
// there, as a kernel does that goes on with its mount. So a successor is sound only if the two counts are equal. Writes
// that were not confirmed do not count: they are asked again. Thread-safe.
class WriteLedger final : public BlockWriter {
 public:
  // Goes on counting in the file, which is made when it is missing. It belongs on a file system that does not survive
  // a reboot. Errors: io, exhausted.
  static Result<std::shared_ptr<WriteLedger>> open(const std::filesystem::path& file,
                                                   std::shared_ptr<BlockWriter> writer);
  ~WriteLedger() override;
  WriteLedger(const WriteLedger&) = delete;
  WriteLedger& operator=(const WriteLedger&) = delete;

  // Whether everything that was confirmed is flushed.
  bool settled() const;
  // Starts anew: what was confirmed before is of no concern any more.
  void settle();

  Result<void> write_at(Sectors at, std::span<const std::byte> data) override;
  Result<void> write_zeroes(Sectors at, Sectors length) override;
  Result<void> discard(Sectors at, Sectors length) override;
  Result<void> flush() override;

 private:
  struct Counts {
    std::uint64_t confirmed;
    std::uint64_t flushed;  // of these, the first so many
  };

  WriteLedger(Counts* counts, std::shared_ptr<BlockWriter> writer) : counts_(counts), writer_(std::move(writer)) {}
  Result<void> count(Result<void> written);

  Counts* counts_;  // a mapping of the file
  std::shared_ptr<BlockWriter> writer_;
};

}  // namespace dadi::attach
