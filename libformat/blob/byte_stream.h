// Bytes in order, from somewhere or to somewhere: what passes between the stages of a conversion.
#pragma once

#include <cstddef>
#include <span>

#include "libformat/base/digest.h"
#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi {

// One thread at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  // The next bytes, valid until the next call; none at the end of the stream.
  virtual Result<std::span<const std::byte>> next() = 0;
};

// One thread at a time.
class ByteSink {
 public:
  virtual ~ByteSink() = default;

  // Takes all of `data`, or fails; after a failure the sink is good for destruction only.
  virtual Result<void> write(std::span<const std::byte> data) = 0;
};

// What a finished blob is known by.
struct BlobIdentity {
  Digest digest;
  Bytes size;

  friend bool operator==(const BlobIdentity&, const BlobIdentity&) = default;
};

// A blob on its way into a store. Room for a head is left in front when the sink is made, since fields of the head are
// known last; write() takes what follows the head. A sink that is destroyed unfinished leaves nothing behind.
class BlobSink : public ByteSink {
 public:
  // Puts `head` in front, computes the digest, makes everything durable and publishes it. Call at most once.
  // REQUIRES: head.size() is the room that was reserved.
  virtual Result<BlobIdentity> finish(std::span<const std::byte> head) = 0;
};

}  // namespace dadi
