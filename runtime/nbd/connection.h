// One client.
#pragma once

#include <poll.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"
#include "runtime/nbd/channel.h"
#include "runtime/nbd/export.h"
#include "runtime/nbd/mailbox.h"
#include "runtime/nbd/negotiation.h"
#include "runtime/nbd/output.h"
#include "runtime/nbd/tls.h"
#include "runtime/nbd/transmission.h"

namespace dadi::nbd {

// How a connection that was quiesced can go on, in this process or another.
struct Handover {
  UniqueFd socket;
  std::vector<std::byte> unparsed;  // bytes that were received and belong to no request that was answered
};

// Serves a client in the thread that calls serve(), which does all of the socket's input and output and waits for
// nothing but the socket and its workers. Requests are answered in the order in which they are done. A client that
// breaks the protocol, exceeds a deadline or vanishes is disconnected, which the observer is told; requests that are
// still with the workers then end by themselves, without the connection.
class Connection {
 public:
  // What connections share. References are borrowed, and must outlive the connection; workers must outlive its
  // requests.
  struct Environment {
    Workers workers;
    const Limits& limits;
    const Observer& observer;
    const TlsContext* tls = nullptr;  // if there is one, clients must use it
  };

  // A client that has just connected: handshake first. `exports`, at least one, are borrowed. `name` is for messages.
  // Errors: those of making an eventfd.
  static Result<std::unique_ptr<Connection>> handshake(UniqueFd socket, std::string name,
                                                       std::span<const Export> exports, const Environment& environment);
  // A client that is in the transmission phase already, and expects simple replies: a kernel. `unparsed`: what was
  // received of it before.
  static Result<std::unique_ptr<Connection>> transmission(UniqueFd socket, std::string name, const Export& served,
                                                          const Environment& environment,
                                                          std::span<const std::byte> unparsed = {});

  // Serves until the client or the caller ends it; closes the socket, unless it is handed over. Call once.
  std::optional<Handover> serve();

  // Begins no more requests; serve() returns when those that are in flight are answered, or after limits.grace. If the
  // connection is in the transmission phase, without TLS, quiesce() has the socket handed over instead of closed, at a
  // boundary between requests and once all replies are sent. Thread-safe.
  void stop() { request(Wish::kStop); }
  void quiesce() { request(Wish::kQuiesce); }

 private:
  using Clock = std::chrono::steady_clock;
  enum class Wish { kServe, kStop, kQuiesce };

  Connection(UniqueFd socket, std::string name, const Environment& environment, std::shared_ptr<Mailbox> mailbox);

  void request(Wish wish);
  Result<void> run();
  Result<void> advance();
  Result<std::size_t> consume();
  Result<void> after_negotiation();
  void begin_transmission(const Agreement& agreement);
  bool send();
  bool over() const;
  bool draining() const { return wish_ != Wish::kServe; }
  bool wants_input() const;
  bool in_request() const;
  Result<void> wait();
  int poll(std::span<pollfd> fds, std::chrono::milliseconds timeout);
  Result<Clock::time_point> next_deadline(Clock::time_point now);
  void receive();
  std::span<std::byte> input_room();
  std::span<const std::byte> input() const { return input_.bytes().subspan(begin_, end_ - begin_); }

  UniqueFd socket_;
  const std::string name_;
  const Environment environment_;
  const Observer observer_;  // with the client's name
  const std::shared_ptr<Mailbox> mailbox_;
  std::unique_ptr<Channel> channel_;
  SpareBuffers spare_;
  Output output_{spare_};
  std::optional<Negotiation> negotiation_;
  std::optional<Transmission> transmission_;
  Buffer input_;
  std::size_t begin_ = 0;  // of what was received and not consumed, in input_
  std::size_t end_ = 0;
  std::atomic<Wish> wished_ = Wish::kServe;
  Wish wish_ = Wish::kServe;  // as the serving thread has seen it
  bool encrypted_ = false;
  bool asks_at_once_ = false;  // the client, when it has its reply
  bool closed_ = false;        // by the client
  bool blocked_ = false;       // output must wait, for output_events_
  short input_events_ = POLLIN;
  short output_events_ = POLLOUT;
  Clock::time_point started_;
  Clock::time_point stopping_;     // when the wish to stop was seen
  Clock::time_point last_input_;   // when bytes came
  Clock::time_point last_output_;  // when bytes went, or output began to wait; zero: to be looked at when it waits
};

}  // namespace dadi::nbd
