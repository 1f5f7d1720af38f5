// A device as a file that the kernel can read and write: a FUSE file system with one file in it, mounted on no folder.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "libformat/base/unique_fd.h"
#include "libformat/blob/block_reader.h"
#include "libformat/blob/block_writer.h"
#include "runtime/worker_pool.h"

struct fuse_session;

namespace dadi::attach {

// Unbuffered (FOPEN_DIRECT_IO), so that its content is in memory once, in the page cache of what reads it. Reads are
// answered in the thread that takes the request as far as memory can answer them, and in threads that may wait
// otherwise, as are all writes. Reads are of whole sectors. Writes may be of parts, for programs that write to the file
// one thing after the other: two writes at once to the same sector may lose one, unless both are of parts. What fails
// is an EIO of that range, or ENOSPC where there was no room.
class FuseFile {
 public:
  // Serves from now on, in threads of its own. Errors: host_lacks (no FUSE; Linux before 5.2), denied, io.
  // `writer` is of the same device; null: read-only.
  static Result<std::unique_ptr<FuseFile>> serve(std::shared_ptr<const BlockReader> device,
                                                 std::shared_ptr<BlockWriter> writer, std::string name);
  // Everybody should have closed the file; who has not gets errors.
  ~FuseFile();
  FuseFile(const FuseFile&) = delete;
  FuseFile& operator=(const FuseFile&) = delete;

  // The folder that the file is in, as a descriptor. Whoever opens the file keeps the file system mounted. A process
  // that is killed while it waits for its own answer stays for ever: another should open it.
  int folder() const { return mount_.get(); }

  // Opens no more, and calls `unused` once nobody has the file open: at once, or in another thread. Call at most once.
  void when_unused(std::function<void()> unused);

  const std::string& name() const { return name_; }
  // The number by which the kernel knows this mount.
  unsigned connection() const { return connection_; }

 private:
  struct Operations;

  FuseFile(std::shared_ptr<const BlockReader> device, std::shared_ptr<BlockWriter> writer, std::string name);
  Result<void> start();
  Result<void> mount(int device_fd);
  Result<void> write_bytes(Bytes at, std::span<const std::byte> data);
  void loop();

  std::shared_ptr<const BlockReader> device_;
  std::shared_ptr<BlockWriter> writer_;
  std::string name_;
  std::mutex parts_;  // held while a part of a sector is written
  std::unique_ptr<runtime::WorkerPool> waiting_;
  std::stop_source stop_;  // of what waits
  fuse_session* session_ = nullptr;
  UniqueFd mount_;
  unsigned connection_ = 0;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable ended_wake_;
  bool ended_ = false;  // this and the next guarded by mutex_
  std::function<void()> unused_;
};

// Every request of that mount fails from now on, those under way too. Nothing when there is no such mount.
void abort_fuse_connection(unsigned connection);

}  // namespace dadi::attach
