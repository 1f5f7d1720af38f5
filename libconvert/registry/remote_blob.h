// A blob of a registry, read at random by HTTP range requests.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "libconvert/registry/repository.h"
#include "libformat/blob/blob_reader.h"

namespace dadi::registry {

// A read is one request for exactly its bytes. What goes wrong on the way (no connection, a broken one, a stalled or
// crawling one, 429, 5xx) is tried again, from the byte on where it broke, with growing pauses, for access.read_time;
// then the read fails, and the next one tries anew. A registry that sends reads on elsewhere is asked once: where it
// led is used until it fails. Nothing is kept of what was read, and content is not verified: the digest is that of the
// whole. Thread-safe: reads run side by side.
class RemoteBlob final : public BlobReader {
 public:
  RemoteBlob(std::shared_ptr<Repository> repository, const Digest& digest, Bytes size);

  Bytes size() const override { return size_; }

  // Heeds context.stop and context.deadline; with memory_only it would block.
  // Errors: unavailable (all tries failed), not_found, unauthenticated, denied, unsupported (the registry answers
  // ranges with something else), corruption (past the end; a blob of another size), cancelled.
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override;

 private:
  class Read;

  std::string place() const;
  void set_place(const std::string& from, std::string to) const;

  const std::shared_ptr<Repository> repository_;
  const Digest digest_;
  const Bytes size_;
  const std::string path_;  // on the registry
  mutable std::mutex mutex_;
  mutable std::string elsewhere_;  // guarded by mutex_: where the registry led; "": nowhere else, or it failed
};

}  // namespace dadi::registry
