// A request that other threads work on.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "runtime/nbd/buffer.h"
#include "runtime/nbd/export.h"
#include "runtime/nbd/mailbox.h"
#include "runtime/nbd/protocol.h"

namespace dadi::nbd {

// Made by the thread that serves the client, handed to workers, and left in the mailbox when the last of them is done.
// It owns what it works with: the client may be gone by then.
struct Job {
  Job(const Request& of, const Export& served, std::shared_ptr<Mailbox> home, std::stop_token ended)
      : request(of), device(served.device), writer(served.writer), mailbox(std::move(home)), stop(std::move(ended)) {}

  const Request request;
  const std::shared_ptr<const BlockReader> device;
  const std::shared_ptr<BlockWriter> writer;
  const std::shared_ptr<Mailbox> mailbox;
  const std::stop_token stop;

  Buffer buffer;  // of a read or write: its data, request.length bytes, at the front

  // A read in pieces, each filled by one thread.
  struct Piece {
    std::size_t offset = 0;  // in the data
    std::size_t size = 0;
    bool zero = false;                 // reads as zeros: known beforehand and then not filled, or found
    std::atomic<bool> filled = false;  // without an error; `zero` is final then
    bool replied = false;              // for the thread that serves the client
  };
  std::vector<Piece> pieces;
  std::size_t heads = 0;  // bytes that replies have taken of the room behind the data
  std::atomic<std::size_t> next_piece = 0;
  std::atomic<std::size_t> unfinished = 1;  // pieces, or the job as a whole

  std::mutex mutex;
  std::optional<Error> error;  // guarded by mutex until the job is in the mailbox: the first one

  void fail(Error failure);
  // One of the unfinished is done; the last one leaves the job in the mailbox.
  static void finish(const std::shared_ptr<Job>& job);
};

// A read's buffer takes request.length bytes; it has pieces, those that are not `zero` to be filled, and `unfinished`
// counts those.

// Fills the next piece that nobody has taken, in this thread, from memory; hands it to one that may wait if memory does
// not have it; whoever fills the last one leaves the job in its mailbox. Returns whether there was one.
bool fill_piece(const std::shared_ptr<Job>& job, const Workers& workers);
// Has workers take pieces, too.
void help_with_read(const std::shared_ptr<Job>& job, const Workers& workers);
// For a read that memory has already been asked for, in vain.
void submit_waiting_read(const std::shared_ptr<Job>& job, const Workers& workers);
// Flushes, prefetches: whatever the request says.
void submit_other(const std::shared_ptr<Job>& job, const Workers& workers);
// Writes, zeroes or trims, now, in this thread. A flush that goes with it (FUA) is for the workers, who leave the job
// in the mailbox then, unless it is to be done `here`. Returns whether the job is done: that is for the caller to say.
bool change(const std::shared_ptr<Job>& job, const Workers& workers, bool here = false);
// Flushes, now, in this thread. Then the job is done.
void flush(Job& job);

}  // namespace dadi::nbd
