// The transmission phase with a client: requests in, replies out.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "libformat/base/result.h"
#include "runtime/nbd/change_queue.h"
#include "runtime/nbd/export.h"
#include "runtime/nbd/extents.h"
#include "runtime/nbd/job.h"
#include "runtime/nbd/mailbox.h"
#include "runtime/nbd/negotiation.h"
#include "runtime/nbd/output.h"
#include "runtime/nbd/protocol.h"

namespace dadi::nbd {

// Reads requests and writes replies; does no I/O with the client of its own, and does not wait. A read that memory can
// answer is answered at once if it is small, and piece by piece, by work() and workers, if it is not; a small write is
// done at once while nothing else is being worked on. What would wait goes to the workers, whose results collect()
// turns into replies, in the order in which they come. So does a flush, unless the client is one that asks for nothing
// while it waits for flushes: that is waited for. One thread.
class Transmission {
 public:
  struct Surroundings {
    const Workers& workers;    // borrowed
    const Limits& limits;      // borrowed
    const Observer& observer;  // borrowed
    std::shared_ptr<Mailbox> mailbox;
    SpareBuffers& spare;  // borrowed
  };

  // The export is copied: requests may outlive the client's connection.
  Transmission(const Agreement& agreement, Surroundings surroundings);
  // What is still being worked on is told to stop, and not waited for.
  ~Transmission();
  Transmission(const Transmission&) = delete;
  Transmission& operator=(const Transmission&) = delete;

  // Takes requests from the front of `input` and answers or starts them: the bytes taken. Fewer than there are when the
  // rest is no whole request, when limits are reached (see full()), or when there is so much output that it had better
  // be sent first. Errors: invalid_argument (the client does not keep to the protocol: disconnect it).
  Result<std::size_t> consume(std::span<const std::byte> input, Output& out);
  // The same, but no request is begun: only the data of one that has (see partial()) is taken.
  std::size_t consume_data(std::span<const std::byte> input, Output& out);

  // Where the data of a write that has begun is to be received, so that it need not be copied; empty: nowhere.
  std::span<std::byte> awaited();
  void received(std::size_t size);

  // Whether a request has begun whose data is not complete.
  bool partial() const { return writing_ != nullptr || refused_.has_value(); }
  // Whether no request can be taken before replies were sent or work was done.
  bool full() const { return full_; }

  // Fills a piece of a large read, beside workers who fill others, and replies with those that are filled, if that can
  // be in chunks. Takes about as long as to decompress 64 KiB; returns whether there was a piece.
  bool work(Output& out);
  // Turns what workers have finished into replies.
  void collect(Output& out);
  bool working() const { return jobs_ > 0; }
  // The client has said good-bye: no more requests.
  bool ending() const { return ending_; }

 private:
  // A write that will not be done: its data must still be taken from the client.
  struct Refused {
    Request request;
    Errno number;
    std::size_t left;  // bytes
  };

  bool admits(const Request& request, const Output& out) const;
  Errno check(const Request& request) const;
  Errno check_range(const Request& request) const;
  void start(const Request& request, Output& out);
  void read(const Request& request, Output& out);
  bool read_at_once(const Request& request, Output& out);
  bool find_zero_pieces(Job& job);
  void write(const Request& request);
  void change_device(std::shared_ptr<Job> job);
  void flush_or_prefetch(std::shared_ptr<Job> job);
  bool client_waits_for_flushes();
  void collect_flush();
  void block_status(const Request& request, Output& out);
  std::shared_ptr<Job> make_job(const Request& request);
  void reply(const Request& request, Errno number, Output& out);
  void failed(const Request& request, Error error, Output& out);
  void collect(Job& job, Output& out);
  bool chunks(const Request& request) const { return structured_ && (request.flags & kDf) == 0; }

  const Export served_;
  const BlockSizes sizes_;
  const bool structured_;
  const bool allocation_;
  const Surroundings around_;
  std::stop_source stop_;
  Extents extents_;
  const std::shared_ptr<ChangeQueue> changes_;
  std::shared_ptr<Job> writing_;  // a write whose data is being received
  std::size_t written_ = 0;       // bytes of it that are here
  std::optional<Refused> refused_;
  std::deque<std::shared_ptr<Job>> reading_;     // large reads, pieces of which may not have been taken
  std::vector<std::shared_ptr<Job>> done_here_;  // by this thread, and not collected
  std::size_t jobs_ = 0;                         // in the hands of workers, or done here
  std::size_t flushes_ = 0;                      // of them: flushes, and changes with FUA, that workers have
  unsigned undisturbed_ = 0;   // flushes by workers in a row during which the client asked for nothing; then those here
  std::size_t job_bytes_ = 0;  // that they and writing_ hold
  bool full_ = false;
  bool ending_ = false;
};

}  // namespace dadi::nbd
