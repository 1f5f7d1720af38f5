#include "runtime/attach/nbd_connections.h"

#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <tuple>
#include <utility>

namespace dadi::attach {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kWaitingThreads = 64;
constexpr int kSendBuffer = 1 << 20;  // a whole reply to the largest request: its thread need not wait for the kernel
constexpr milliseconds kFirstDelay{10};
constexpr milliseconds kLongestDelay{1000};
constexpr auto kWorked = std::chrono::seconds(1);  // a connection that lived for so long was a good one

}  // namespace

Result<SocketPair> SocketPair::make() {
  std::array<int, 2> ends = {};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return Error::from_errno(errno, "a pair of sockets");
  }
  SocketPair pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
  // Beyond the host's usual limit, which root may; if not, replies are sent in more pieces.
  std::ignore = ::setsockopt(pair.ours.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBuffer, sizeof kSendBuffer);
  return pair;
}

NbdConnections::NbdConnections(std::shared_ptr<const BlockReader> device, std::shared_ptr<BlockWriter> writer,
                               std::string name, Callbacks callbacks)
    : name_(std::move(name)),
      callbacks_(std::move(callbacks)),
      computing_("nbd-compute", std::max(1U, std::thread::hardware_concurrency())),
      waiting_("nbd-wait", kWaitingThreads),
      served_{.name = "", .description = "", .device = std::move(device), .writer = std::move(writer)} {}

NbdConnections::~NbdConnections() {
  stop();
}

void NbdConnections::start(std::vector<nbd::Handover> sockets, std::size_t count) {
  slots_.resize(std::max(count, sockets.size()));
  phase_ = Phase::kServing;
  gone_ = 0;
  auto next = sockets.begin();
  for (Slot& slot : slots_) {
    if (next != sockets.end()) slot.socket = std::move(*next++);
    slot.thread = std::thread([this, &slot] {
      pthread_setname_np(pthread_self(), "nbd-connection");
      serve(slot);
    });
  }
}

std::vector<nbd::Handover> NbdConnections::pause() {
  end(Phase::kPausing);
  std::vector<nbd::Handover> sockets;
  for (Slot& slot : slots_) {
    if (slot.socket) sockets.push_back(std::move(*slot.socket));
  }
  slots_.clear();
  return sockets;
}

void NbdConnections::stop() {
  end(Phase::kStopping);
  slots_.clear();
}

void NbdConnections::end(Phase phase) {
  {
    const std::scoped_lock lock(mutex_);
    phase_ = phase;
    for (const Slot& slot : slots_) {
      if (!slot.connection) continue;
      phase == Phase::kPausing ? slot.connection->quiesce() : slot.connection->stop();
    }
  }
  wake_.notify_all();
  for (Slot& slot : slots_) {
    if (slot.thread.joinable()) slot.thread.join();
  }
}

void NbdConnections::serve(Slot& slot) {
  milliseconds delay{0};
  while (true) {
    const auto begin = Clock::now();
    if (slot.socket) {
      if (!serve_once(slot)) return;
      callbacks_.log(name_ + ": a connection broke");
    }
    // A new socket that ends at once found no dead connection to replace: the kernel may not have seen it die yet.
    delay = Clock::now() - begin > kWorked ? milliseconds(0) : std::clamp(delay * 2, kFirstDelay, kLongestDelay);
    if (!reconnect(slot, delay)) return;
  }
}

// Whether the connection broke, and nobody wants it to end.
bool NbdConnections::serve_once(Slot& slot) {
  const nbd::Connection::Environment environment{.workers = {.computing = computing_, .waiting = waiting_},
                                                 .limits = limits_,
                                                 .observer = observer_,
                                                 .tls = nullptr};
  nbd::Connection* connection = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    if (phase_ != Phase::kServing) return false;
    nbd::Handover socket = std::move(*std::exchange(slot.socket, std::nullopt));
    auto made = nbd::Connection::transmission(std::move(socket.socket), name_, served_, environment,
                                              std::move(socket.unparsed));
    if (!made) {
      callbacks_.log(std::move(made).error().context("{}", name_).message());
      return true;
    }
    slot.connection = std::move(*made);
    connection = slot.connection.get();
  }
  auto handover = connection->serve();
  const std::scoped_lock lock(mutex_);
  slot.connection.reset();
  slot.socket = std::move(handover);
  return phase_ == Phase::kServing;
}

// Whether there is a new socket to serve.
bool NbdConnections::reconnect(Slot& slot, milliseconds delay) {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, delay, [&] { return phase_ != Phase::kServing; });
      if (phase_ != Phase::kServing) return false;
    }
    auto pair = SocketPair::make();
    const auto reconnected = pair ? callbacks_.reconnect(pair->kernels.get()) : pair.error();
    if (reconnected) {
      slot.socket = nbd::Handover{.socket = std::move(pair->ours), .unparsed = {}};
      return true;
    }
    if (reconnected.error().code() == ErrorCode::kNotFound) {
      slot_is_gone();
      return false;
    }
    callbacks_.log(fmt::format("{}: no new connection: {}", name_, reconnected.error().message()));
    delay = kLongestDelay;
  }
}

void NbdConnections::slot_is_gone() {
  {
    const std::scoped_lock lock(mutex_);
    if (phase_ != Phase::kServing || ++gone_ != slots_.size()) return;
  }
  callbacks_.gone();
}

}  // namespace dadi::attach
