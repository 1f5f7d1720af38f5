#include "runtime/attach/kernel_nbd.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <utility>

#include "runtime/attach/nbd_connections.h"
#include "runtime/attach/nbd_device.h"
#include "runtime/attach/nbd_netlink.h"

namespace dadi::attach {

namespace {

constexpr std::size_t kMostConnections = 4;  // each a queue of the device

// What a successor, or who cleans up, must know: state() as values.
struct NbdState {
  std::uint32_t index = 0;
  std::size_t connections = 0;
  NbdDeviceSettings settings;
  std::vector<nbd::Handover> sockets;  // in a state for a successor in the same process
};

std::string hex_of(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

std::optional<std::vector<std::byte>> bytes_of(std::string_view hex) {
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  if (hex.size() % 2 != 0) return std::nullopt;
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]);
    const int low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(high << 4 | low));
  }
  return bytes;
}

Json to_json(const NbdState& state) {
  Json json = {{"index", state.index},
               {"connections", state.connections},
               {"identifier", state.settings.identifier},
               {"size", state.settings.size.value},
               {"timeout", static_cast<std::uint64_t>(state.settings.timeout.count())},
               {"dead_connection_timeout", static_cast<std::uint64_t>(state.settings.dead_connection_timeout.count())}};
  for (const nbd::Handover& socket : state.sockets) {
    json["sockets"].push_back(
        {{"fd", static_cast<unsigned>(socket.socket.get())}, {"unparsed", hex_of(socket.unparsed)}});
  }
  return json;
}

std::uint64_t number_in(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number_unsigned()) throw std::out_of_range(name);
  return found->get<std::uint64_t>();
}

nbd::Handover socket_of(const Json& json) {
  const auto unparsed = bytes_of(json.at("unparsed").get<std::string>());
  if (!unparsed) throw std::out_of_range("unparsed");
  UniqueFd socket(::fcntl(static_cast<int>(number_in(json, "fd")), F_DUPFD_CLOEXEC, 0));
  if (!socket) throw std::out_of_range("fd");
  return {.socket = std::move(socket), .unparsed = *unparsed};
}

// Duplicates the sockets that are named in it. Errors: corruption.
Result<NbdState> state_of(const Json& json) try {
  NbdState state;
  state.index = static_cast<std::uint32_t>(number_in(json, "index"));
  state.connections = std::clamp<std::size_t>(number_in(json, "connections"), 1, kMostConnections);
  state.settings.identifier = json.at("identifier").get<std::string>();
  state.settings.size = {number_in(json, "size")};
  state.settings.timeout = std::chrono::seconds(number_in(json, "timeout"));
  state.settings.dead_connection_timeout = std::chrono::seconds(number_in(json, "dead_connection_timeout"));
  if (const auto sockets = json.find("sockets"); sockets != json.end()) {
    for (const Json& socket : *sockets) state.sockets.push_back(socket_of(socket));
  }
  return state;
} catch (const std::exception& error) {
  return Error::corruption("not the state of an nbd device: {}", error.what());
}

// Closes the sockets that are named in it: their duplicates are in use.
void close_sockets(const Json& json) {
  if (!json.is_object() || !json.contains("sockets")) return;
  for (const Json& socket : json["sockets"]) ::close(socket["fd"].get<int>());
}

// Whether the device is still the one of this state. Kernels before 5.14 keep no identifier.
bool is_still(const NbdState& state) {
  const NbdDeviceState now = nbd_device_state(state.index);
  return now.set_up && (now.identifier.empty() || now.identifier == state.settings.identifier);
}

Result<UniqueFd> open_device(std::uint32_t index, int flags) {
  const std::string path = nbd_device_path(index);
  UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC));
  if (!file) return Error::from_errno(errno, path);
  return file;
}

// Lets a device end when the last who has it open closes it: at once, if nobody has.
Result<void> end_when_closed(NbdNetlink& netlink, const NbdState& state) {
  DADI_CHECK(netlink.set_end(state.index, state.settings.identifier,
                             {.on_close = true, .destroyed = nbd_device_is_extra(state.index)}));
  DADI_TRY(const UniqueFd last, open_device(state.index, O_RDONLY));
  return {};
}

// Kernel's ends of new connections, in `kernels`; ours in state.sockets.
Result<void> make_sockets(NbdState& state, std::vector<UniqueFd>& kernels) {
  for (std::size_t i = 0; i < state.connections; ++i) {
    DADI_TRY(SocketPair pair, SocketPair::make());
    state.sockets.push_back({.socket = std::move(pair.ours), .unparsed = {}});
    kernels.push_back(std::move(pair.kernels));
  }
  return {};
}

std::vector<int> numbers_of(const std::vector<UniqueFd>& descriptors) {
  std::vector<int> numbers;
  for (const UniqueFd& descriptor : descriptors) numbers.push_back(descriptor.get());
  return numbers;
}

class KernelNbd final : public HostDevice {
 public:
  KernelNbd(NbdNetlink netlink, NbdState state, const HostDeviceRequest& request)
      : netlink_(std::move(netlink)),
        state_(std::move(state)),
        log_(request.log),
        gone_(request.gone),
        connections_(
            request.device, request.writer, path(),
            {.reconnect = [this](int socket) { return reconnect(socket); }, .gone = [this] { gone(); }, .log = log_}) {
    connections_.start(std::exchange(state_.sockets, {}), state_.connections);
  }

  std::uint32_t index() const { return state_.index; }
  std::string path() const override { return nbd_device_path(state_.index); }
  Json state() const override { return to_json(state_); }

  Result<void> remove() override {
    if (!is_still(state_)) return {};  // somebody else has taken it away, and may have set it up for himself
    // Held for ourselves alone: nobody can mount it between the look and the end.
    DADI_TRY(const UniqueFd claim, open_device(state_.index, O_RDONLY | O_EXCL));
    if (::fsync(claim.get()) != 0) return Error::from_errno(errno, "write what is in memory of " + path());
    const std::scoped_lock lock(mutex_);
    DADI_CHECK(netlink_.disconnect(state_.index));
    gone_ = nullptr;
    return {};
  }

  void remove_later(std::function<void()> gone) override {
    std::unique_lock lock(mutex_);
    gone_ = std::move(gone);
    const auto done = end_when_closed(netlink_, state_);
    lock.unlock();
    if (done) return;
    log_(done.error().message());
    if (done.error().code() == ErrorCode::kNotFound) this->gone();
  }

  Result<Json> pause() override {
    state_.sockets = connections_.pause();
    for (const nbd::Handover& socket : state_.sockets) ::fcntl(socket.socket.get(), F_SETFD, 0);
    return to_json(state_);
  }

  void go_on() override {
    for (const nbd::Handover& socket : state_.sockets) ::fcntl(socket.socket.get(), F_SETFD, FD_CLOEXEC);
    connections_.start(std::exchange(state_.sockets, {}), state_.connections);
  }

 private:
  Result<void> reconnect(int socket) {
    const std::scoped_lock lock(mutex_);
    return netlink_.reconnect(state_.index, state_.settings, {&socket, 1});
  }

  // Called when the last connection found the device gone.
  void gone() {
    std::function<void()> tell;
    {
      const std::scoped_lock lock(mutex_);
      tell = std::exchange(gone_, nullptr);
    }
    if (tell) tell();
  }

  std::mutex mutex_;
  NbdNetlink netlink_;  // guarded by mutex_
  NbdState state_;
  const std::function<void(std::string_view)> log_;
  std::function<void()> gone_;  // guarded by mutex_
  NbdConnections connections_;
};

Result<NbdState> set_up(NbdNetlink& netlink, const HostDeviceRequest& request) {
  NbdState state;
  state.connections = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, kMostConnections);
  state.settings.size = to_bytes(request.device->size());
  state.settings.writable = request.writer != nullptr;
  state.settings.identifier = request.label;
  state.settings.timeout = request.timeout;
  state.settings.dead_connection_timeout = request.successor_timeout;
  std::vector<UniqueFd> kernels;
  DADI_CHECK(make_sockets(state, kernels));
  DADI_TRY(state.index, netlink.connect(state.settings, numbers_of(kernels), std::nullopt));
  tune_nbd_device(state.index);
  if (!nbd_device_is_extra(state.index)) return state;
  if (auto set = netlink.set_end(state.index, state.settings.identifier, {.destroyed = true}); !set) {
    std::ignore = netlink.disconnect(state.index).has_value();
    return std::move(set).error();
  }
  return state;
}

// The state in which a predecessor left the device, with its sockets or without. Without, each connection asks the
// kernel for its place when it starts: a dead one may take the kernel a moment to let go.
Result<NbdState> succeed(const HostDeviceRequest& request) {
  DADI_TRY(NbdState state, state_of(request.previous));
  const std::string path = nbd_device_path(state.index);
  if (!is_still(state)) return Error::not_found("{} is gone, or serves something else by now", path);
  if (state.settings.size != to_bytes(request.device->size())) {
    return Error::corruption("{} has {} bytes, but the image now has {}", path, state.settings.size.value,
                             to_bytes(request.device->size()).value);
  }
  return state;
}

}  // namespace

Result<void> probe_kernel_nbd() {
  if (::geteuid() != 0) return Error::denied("devices of the kernel's nbd are for root").with_hint("be root");
  DADI_TRY(const NbdNetlink netlink, NbdNetlink::open());
  return {};
}

Result<std::unique_ptr<HostDevice>> create_kernel_nbd(HostDeviceRequest request) {
  DADI_TRY(NbdNetlink netlink, NbdNetlink::open());
  const bool is_new = request.previous.is_null();
  DADI_TRY(NbdState state, is_new ? set_up(netlink, request) : succeed(request));
  auto device = std::make_unique<KernelNbd>(std::move(netlink), std::move(state), request);
  // The first who opens it has the kernel look for partitions: now, while it is served, so that nobody waits for that
  // later.
  if (is_new) {
    if (auto opened = open_device(device->index(), O_RDONLY); !opened) {
      device->remove_later([] {});
      return std::move(opened).error();
    }
  }
  close_sockets(request.previous);
  return std::unique_ptr<HostDevice>(std::move(device));
}

Result<void> give_up_kernel_nbd(const Json& json) {
  DADI_TRY(const NbdState state, state_of(json));
  if (!is_still(state)) return {};
  DADI_TRY(NbdNetlink netlink, NbdNetlink::open());
  auto done = netlink.disconnect(state.index);
  if (!done && done.error().code() != ErrorCode::kNotFound) return done;
  return {};
}

Result<void> clean_up_kernel_nbd(const Json& json) {
  DADI_TRY(const NbdState state, state_of(json));
  if (!is_still(state)) return {};
  DADI_TRY(NbdNetlink netlink, NbdNetlink::open());
  if (auto done = end_when_closed(netlink, state); !done && done.error().code() != ErrorCode::kNotFound) return done;
  if (is_still(state)) return Error::busy("{} is in use", nbd_device_path(state.index));
  return {};
}

}  // namespace dadi::attach
