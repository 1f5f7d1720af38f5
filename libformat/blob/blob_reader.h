// The seam through which every byte of a blob is read: a file, memory, a remote blob, a cached one, a faulty one in a
// test. Behaviour is added by wrapping one BlobReader in another.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi {

enum class ReadClass { kDemand, kPrefetch };

// Whoever wants the front of a read before all of it is there.
class ReadProgress {
 public:
  // The first `bytes` of what is read are there, and stay as they are. Called by the thread that reads.
  virtual void arrived(std::size_t bytes) = 0;

 protected:
  ~ReadProgress() = default;
};

// What a read may cost its caller. The default: wait as long as it takes.
struct ReadContext {
  std::stop_token stop;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  ReadClass read_class = ReadClass::kDemand;
  // Answer from memory alone, or fail at once with would_block: never wait for a disk, a network or another thread's
  // wait. A server asks so first, in the thread that serves a client, and hands to another thread what would block.
  bool memory_only = false;
  // Of what is far away, fetch what is asked for and nothing around it: the caller knows what it will want.
  bool exact = false;
  // Not from a cache: what that gave was damaged.
  bool anew = false;
  // Borrowed; null: nobody. Told of by those who fetch from far away alone; who reads other bytes for those that were
  // asked for does not hand it on.
  ReadProgress* progress = nullptr;
};

// Thread-safe: any number of threads may read at once.
class BlobReader {
 public:
  virtual ~BlobReader() = default;

  virtual Bytes size() const = 0;

  // Fills all of `out` from `offset` on, or fails as a whole.
  // Errors: corruption (the range reaches past the end, or content is damaged), io, unavailable, cancelled, would_block
  // (only with context.memory_only).
  virtual Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context = {}) const = 0;
};

using SharedBlob = std::shared_ptr<const BlobReader>;

// The whole of [offset, offset + size) in memory. REQUIRES: the caller has bounded `size`.
Result<std::vector<std::byte>> read_range(const BlobReader& blob, Bytes offset, Bytes size,
                                          const ReadContext& context = {});

}  // namespace dadi
