#include "runtime/attach/line_server.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>

namespace dadi::attach {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostClients = 32;
constexpr std::size_t kLongestQuestion = 16 * 1024;
constexpr std::chrono::milliseconds kPatience{10'000};

}  // namespace

struct LineServer::Client {
  UniqueFd socket;
  const Listener* listener;
  Clock::time_point last_heard;
  std::string received = {};
  std::string unsent = {};
  bool closing = false;  // after what is unsent
  bool gone = false;
  short ready = 0;
};

LineServer::LineServer() = default;
LineServer::~LineServer() = default;

void LineServer::listen(UniqueFd socket, Handler handler) {
  listeners_.push_back({std::move(socket), std::move(handler)});
}

void LineServer::every(std::chrono::milliseconds period, std::function<void()> work) {
  period_ = period;
  work_ = std::move(work);
  next_work_ = Clock::now() + period_;
}

Result<void> LineServer::run(int wake) {
  stopping_ = false;
  while (!stopping_) {
    DADI_TRY(const bool woken, wait(wake));
    if (woken) return {};
    for (Client& client : clients_) {
      if (client.ready == 0) continue;
      receive(client);
      send(client);
      if (stopping_) return {};
    }
    send_away_the_slow();
    if (work_ && Clock::now() >= next_work_) {
      work_();
      next_work_ = Clock::now() + period_;
    }
  }
  return {};
}

Result<bool> LineServer::wait(int wake) {
  std::vector<pollfd> entries = {{.fd = wake, .events = POLLIN, .revents = 0}};
  for (const Listener& listener : listeners_) entries.push_back({listener.socket.get(), POLLIN, 0});
  for (const Client& client : clients_) {
    entries.push_back({client.socket.get(), static_cast<short>(client.unsent.empty() ? POLLIN : POLLOUT), 0});
  }
  const std::chrono::milliseconds timeout = work_ ? period_ : kPatience;
  if (::poll(entries.data(), entries.size(), clients_.empty() && !work_ ? -1 : static_cast<int>(timeout.count())) < 0 &&
      errno != EINTR) {
    return Error::from_errno(errno, "wait for clients");
  }
  if (entries.front().revents != 0) return true;
  std::size_t next = 1 + listeners_.size();
  for (Client& client : clients_) client.ready = entries[next++].revents;
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (entries[1 + i].revents != 0) accept_from(listeners_[i]);
  }
  return false;
}

void LineServer::accept_from(const Listener& listener) {
  UniqueFd socket(::accept4(listener.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket || clients_.size() >= kMostClients) return;
  clients_.push_back({.socket = std::move(socket), .listener = &listener, .last_heard = Clock::now()});
}

void LineServer::receive(Client& client) {
  char buffer[4096];
  while (client.unsent.empty() && !client.closing) {
    const ssize_t n = ::recv(client.socket.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0 || client.received.size() > kLongestQuestion) {
      client.gone = true;
      return;
    }
    client.last_heard = Clock::now();
    client.received.append(buffer, static_cast<std::size_t>(n));
    while (auto answer = client.closing ? std::nullopt : client.listener->handler(client.received)) {
      client.unsent += answer->text;
      client.closing = answer->close;
    }
  }
}

void LineServer::send(Client& client) {
  while (!client.unsent.empty()) {
    const ssize_t n = ::send(client.socket.get(), client.unsent.data(), client.unsent.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      client.gone = true;
      return;
    }
    client.unsent.erase(0, static_cast<std::size_t>(n));
  }
  client.gone = client.gone || client.closing;
}

void LineServer::send_away_the_slow() {
  const auto now = Clock::now();
  clients_.remove_if([&](const Client& client) { return client.gone || now - client.last_heard > kPatience; });
}

LineServer::Handler line_handler(std::function<std::string(std::string_view)> answer) {
  return [answer = std::move(answer)](std::string& received) -> std::optional<LineServer::Answer> {
    const std::size_t end = received.find('\n');
    if (end == std::string::npos) return std::nullopt;
    LineServer::Answer reply{.text = answer(std::string_view(received).substr(0, end)) + '\n'};
    received.erase(0, end + 1);
    return reply;
  };
}

LineServer::Handler http_handler(std::function<std::string()> page) {
  return [page = std::move(page)](std::string& received) -> std::optional<LineServer::Answer> {
    if (received.find("\r\n\r\n") == std::string::npos && received.find("\n\n") == std::string::npos)
      return std::nullopt;
    const bool get = received.starts_with("GET ");
    const std::string body = get ? page() : "only GET is understood\n";
    return LineServer::Answer{.text = fmt::format("HTTP/1.1 {}\r\nContent-Type: text/plain; version=0.0.4\r\n"
                                                  "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
                                                  get ? "200 OK" : "405 Method Not Allowed", body.size(), body),
                              .close = true};
  };
}

}  // namespace dadi::attach
