#include "runtime/nbd/connection.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>
#include <thread>

namespace dadi::nbd {
namespace {

constexpr std::size_t kInputSize = 64 << 10;  // bytes; an option or a request always fits
constexpr auto kAwake = std::chrono::microseconds(50);
constexpr auto kSoon = 2 * kAwake;               // with what it takes to be woken
constexpr auto kIdle = std::chrono::seconds(1);  // after this, memory that is not in use is let go

// Writing to a client that is gone is an error of that write, not a signal; TLS cannot say so in the call.
void block_sigpipe() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Observer named(const Observer& observer, const std::string& name) {
  if (!observer) return {};
  return [&observer, name](const Error& error) { observer(Error(error).context("{}", name)); };
}

// As poll() does, for at most kAwake, without sleeping. One thread of a process at a time, and none where that would
// keep the only core from the client.
int poll_awake(std::span<pollfd> fds) {
  static const bool one_core = std::thread::hardware_concurrency() == 1;
  static std::atomic<bool> taken = false;
  if (one_core || taken.exchange(true)) return 0;
  const auto end = std::chrono::steady_clock::now() + kAwake;
  int ready = 0;
  while (ready == 0 && std::chrono::steady_clock::now() < end) ready = ::poll(fds.data(), fds.size(), 0);
  taken = false;
  return ready;
}

Result<void> set_nonblocking(int socket) {
  const int flags = ::fcntl(socket, F_GETFL);
  if (flags < 0 || ::fcntl(socket, F_SETFL, flags | O_NONBLOCK) != 0) return Error::from_errno(errno, "socket");
  return {};
}

}  // namespace

Connection::Connection(UniqueFd socket, std::string name, const Environment& environment,
                       std::shared_ptr<Mailbox> mailbox)
    : socket_(std::move(socket)),
      name_(std::move(name)),
      environment_(environment),
      observer_(named(environment.observer, name_)),
      mailbox_(std::move(mailbox)),
      channel_(plain_channel(socket_.get())),
      input_(kInputSize),
      started_(Clock::now()),
      last_input_(started_),
      last_output_(started_) {}

Result<std::unique_ptr<Connection>> Connection::handshake(UniqueFd socket, std::string name,
                                                          std::span<const Export> exports,
                                                          const Environment& environment) {
  DADI_CHECK(set_nonblocking(socket.get()));
  DADI_TRY(auto mailbox, Mailbox::create());
  std::unique_ptr<Connection> connection(
      new Connection(std::move(socket), std::move(name), environment, std::move(mailbox)));
  if (connection->input_.size() == 0) return Error::exhausted("out of memory");
  connection->negotiation_.emplace(exports, environment.tls != nullptr, connection->output_);
  return connection;
}

Result<std::unique_ptr<Connection>> Connection::transmission(UniqueFd socket, std::string name, const Export& served,
                                                             const Environment& environment,
                                                             std::span<const std::byte> unparsed) {
  DADI_CHECK(set_nonblocking(socket.get()));
  DADI_TRY(auto mailbox, Mailbox::create());
  std::unique_ptr<Connection> connection(
      new Connection(std::move(socket), std::move(name), environment, std::move(mailbox)));
  if (unparsed.size() > connection->input_.size()) connection->input_ = Buffer(unparsed.size());
  if (connection->input_.size() == 0) return Error::exhausted("out of memory");
  std::ranges::copy(unparsed, connection->input_.bytes().begin());
  connection->end_ = unparsed.size();
  connection->begin_transmission({.served = &served, .structured = false, .allocation = false});
  return connection;
}

void Connection::begin_transmission(const Agreement& agreement) {
  transmission_.emplace(agreement, Transmission::Surroundings{.workers = environment_.workers,
                                                              .limits = environment_.limits,
                                                              .observer = observer_,
                                                              .mailbox = mailbox_,
                                                              .spare = spare_});
}

void Connection::request(Wish wish) {
  wished_ = wish;
  mailbox_->wake();
}

std::optional<Handover> Connection::serve() {
  block_sigpipe();
  Result<void> result;
  try {
    result = run();
  } catch (const std::bad_alloc&) {
    result = Error::exhausted("out of memory");
  }
  const bool handed_over =
      result && !closed_ && wish_ == Wish::kQuiesce && transmission_ && !encrypted_ && !transmission_->ending();
  if (closed_ && !channel_->failure().empty()) result = Error::denied("TLS: {}", channel_->failure());
  if (!result && observer_) observer_(std::move(result).error().context("disconnected"));
  transmission_.reset();
  if (handed_over) {
    const auto rest = input();
    return Handover{std::move(socket_), {rest.begin(), rest.end()}};
  }
  if (!closed_) channel_->close();
  channel_.reset();
  socket_ = UniqueFd();
  return std::nullopt;
}

Result<void> Connection::run() {
  while (true) {
    if (wish_ != wished_) {
      wish_ = wished_;
      stopping_ = Clock::now();
    }
    DADI_CHECK(advance());
    if (over()) return {};
    DADI_CHECK(wait());
  }
}

// Consumes, works and sends for as long as any of it goes on.
Result<void> Connection::advance() {
  while (!closed_) {
    if (transmission_) transmission_->collect(output_);
    DADI_TRY(const std::size_t taken, consume());
    const bool sent = send();  // which may make room for what was not consumed
    if ((taken == 0 && !sent) || blocked_) break;
  }
  return {};
}

Result<std::size_t> Connection::consume() {
  std::size_t taken = 0;
  if (!transmission_) {
    if (draining()) return taken;
    DADI_TRY(taken, negotiation_->consume(input(), output_));
  } else if (draining()) {
    taken = transmission_->consume_data(input(), output_);
  } else {
    DADI_TRY(taken, transmission_->consume(input(), output_));
  }
  begin_ += taken;
  if (begin_ == end_) begin_ = end_ = 0;
  if (!transmission_) DADI_CHECK(after_negotiation());
  return taken;
}

Result<void> Connection::after_negotiation() {
  if (negotiation_->state() == Negotiation::State::kAgreed) {
    begin_transmission(negotiation_->agreement());
  } else if (negotiation_->state() == Negotiation::State::kStartTls) {
    // What came before TLS began cannot be trusted to be this client's.
    if (begin_ != end_) return Error::invalid_argument("plain text where TLS begins");
    send();
    if (output_.pending() > 0) return {};
    DADI_TRY(channel_, environment_.tls->channel(socket_.get()));
    encrypted_ = true;
    negotiation_->tls_started();
  }
  return {};
}

// Returns whether anything was sent.
bool Connection::send() {
  const std::size_t before = output_.pending();
  if (!blocked_) last_output_ = {};
  blocked_ = false;
  while (output_.pending() > 0) {
    const Moved moved = channel_->send(output_.next());
    if (moved.status == Moved::Status::kOk) {
      output_.sent(moved.bytes);
      last_output_ = {};  // the time is looked at when output has to wait
      continue;
    }
    closed_ = moved.status == Moved::Status::kClosed;
    blocked_ = !closed_;
    output_events_ = moved.events;
    break;
  }
  return output_.pending() < before;
}

bool Connection::over() const {
  if (closed_) return true;
  if (output_.pending() > 0) return false;
  if (!transmission_) return draining() || negotiation_->state() == Negotiation::State::kAborted;
  if (transmission_->working()) return false;
  return transmission_->ending() || (draining() && !transmission_->partial());
}

// Whether a request, or an option, has begun whose rest the client owes.
bool Connection::in_request() const {
  if (!transmission_) return true;
  return transmission_->partial() || (begin_ != end_ && !transmission_->full() && output_.pending() == 0);
}

bool Connection::wants_input() const {
  if (!transmission_) return output_.pending() == 0 && negotiation_->state() == Negotiation::State::kOpen;
  if (transmission_->partial()) return true;
  return !draining() && !transmission_->ending() && !transmission_->full() && output_.pending() == 0;
}

// The earliest time at which something is to be done if nothing happens until then.
// Errors: unavailable, when the client is late already.
Result<Connection::Clock::time_point> Connection::next_deadline(Clock::time_point now) {
  const Limits& limits = environment_.limits;
  auto earliest = Clock::time_point::max();
  const auto by = [&](Clock::time_point deadline) {
    earliest = std::min(earliest, deadline);
    return now < deadline;
  };
  if (!transmission_ && !by(started_ + limits.handshake)) return Error::unavailable("the handshake took too long");
  if (in_request() && wants_input() && !by(last_input_ + limits.partial))
    return Error::unavailable("the rest of a request did not come");
  if (output_.pending() > 0 && !by(last_output_ + limits.stalled)) return Error::unavailable("replies were not taken");
  if (draining() && !by(stopping_ + limits.grace)) return Error::unavailable("requests did not end in time");
  return earliest;
}

// poll(), but a client that asked again at once the last time is waited for awake at first: to be woken takes longer
// than to answer it.
int Connection::poll(std::span<pollfd> fds, std::chrono::milliseconds timeout) {
  int ready = asks_at_once_ && !transmission_->working() ? poll_awake(fds) : 0;
  if (ready != 0) return ready;
  const auto asleep = Clock::now();
  ready = ::poll(fds.data(), fds.size(), static_cast<int>(timeout.count()));
  const bool asked = ready > 0 && (fds[0].revents & POLLIN) != 0;
  asks_at_once_ = transmission_ && asked && Clock::now() - asleep < kSoon;
  return ready;
}

Result<void> Connection::wait() {
  const bool worked = transmission_ && transmission_->work(output_);
  if (!blocked_ && output_.pending() > 0) send();
  if (closed_) return {};
  const auto now = Clock::now();
  if (last_output_ == Clock::time_point{}) last_output_ = now;
  DADI_TRY(const auto deadline, next_deadline(now));
  const bool input_wanted = wants_input();
  if (input_wanted && channel_->buffered()) {
    receive();
    return {};
  }
  const short events = static_cast<short>((input_wanted ? input_events_ : 0) | (blocked_ ? output_events_ : 0));
  std::array<pollfd, 2> fds = {{{socket_.get(), events, 0}, {mailbox_->fd(), POLLIN, 0}}};
  const auto timeout = std::min<Clock::duration>(deadline - now, std::chrono::hours(1));
  const bool may_idle = output_.pending() == 0 && timeout > kIdle && !spare_.empty();
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(may_idle ? kIdle : timeout);
  const int ready = worked ? ::poll(fds.data(), fds.size(), 0) : poll(fds, milliseconds);
  if (ready == 0 && may_idle && !worked) spare_.clear();
  if (ready <= 0) return {};
  if (fds[1].revents != 0) mailbox_->quiet();
  if (fds[0].revents == 0) return {};
  if (input_wanted && (fds[0].revents & (input_events_ | POLLHUP | POLLERR)) != 0) {
    receive();
  } else if ((fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) {
    closed_ = true;
  }
  return {};
}

std::span<std::byte> Connection::input_room() {
  if (begin_ > 0) {
    std::memmove(input_.bytes().data(), input().data(), end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return input_.bytes().subspan(end_);
}

void Connection::receive() {
  const bool direct = transmission_ && begin_ == end_ && !transmission_->awaited().empty();
  const auto room = direct ? transmission_->awaited() : input_room();
  if (room.empty()) return;
  const Moved moved = channel_->receive(room);
  input_events_ = moved.status == Moved::Status::kWouldBlock ? moved.events : static_cast<short>(POLLIN);
  if (moved.status == Moved::Status::kClosed) closed_ = true;
  if (moved.status != Moved::Status::kOk) return;
  last_input_ = Clock::now();
  if (direct) {
    transmission_->received(moved.bytes);
  } else {
    end_ += moved.bytes;
  }
}

}  // namespace dadi::nbd
