#include "runtime/attach/nbd_netlink.h"

#include <linux/nbd-netlink.h>
#include <linux/nbd.h>

#include <cerrno>
#include <utility>

#include "runtime/nbd/protocol.h"

namespace dadi::attach {

namespace {

std::uint64_t server_flags(const NbdDeviceSettings& settings) {
  // Of several connections, because a flush over one is of what was written over all.
  const std::uint64_t flags = nbd::kHasFlags | nbd::kCanMultiConn;
  if (!settings.writable) return flags | nbd::kReadOnly;
  return flags | nbd::kSendFlush | nbd::kSendFua | nbd::kSendTrim | nbd::kSendWriteZeroes;
}

void put_sockets(NetlinkRequest& request, std::span<const int> sockets) {
  request.nest(NBD_ATTR_SOCKETS, [&] {
    for (const int socket : sockets) {
      request.nest(NBD_SOCK_ITEM, [&] { request.put_u32(NBD_SOCK_FD, static_cast<std::uint32_t>(socket)); });
    }
  });
}

void put_identifier(NetlinkRequest& request, const std::string& identifier) {
  if (!identifier.empty()) request.put_text(NBD_ATTR_BACKEND_IDENTIFIER, identifier);
}

void put_timeouts(NetlinkRequest& request, const NbdDeviceSettings& settings) {
  request.put_u64(NBD_ATTR_TIMEOUT, static_cast<std::uint64_t>(settings.timeout.count()));
  request.put_u64(NBD_ATTR_DEAD_CONN_TIMEOUT, static_cast<std::uint64_t>(settings.dead_connection_timeout.count()));
}

// A refusal, with the kernel's own words where it has some.
Error refusal(const NetlinkAnswer& answer, const std::string& what) {
  Error error = Error::from_errno(answer.error, what);
  if (!answer.explanation.empty()) error = Error(error.code(), error.message() + " (" + answer.explanation + ")");
  if (answer.error == EPERM) return std::move(error).with_hint("kernel nbd devices need root (CAP_SYS_ADMIN)");
  return error;
}

std::string name_of(std::optional<std::uint32_t> index) {
  return index ? fmt::format("/dev/nbd{}", *index) : "a free nbd device";
}

}  // namespace

Result<NbdNetlink> NbdNetlink::open() {
  auto netlink = GenericNetlink::open(NBD_GENL_FAMILY_NAME);
  if (netlink) return NbdNetlink(std::move(*netlink));
  if (netlink.error().code() != ErrorCode::kNotFound) return std::move(netlink).error();
  return Error::host_lacks("kernel nbd is not loaded")
      .with_hint("load it with `modprobe nbd`, or attach with --backend loop");
}

Result<std::uint32_t> NbdNetlink::connect(const NbdDeviceSettings& settings, std::span<const int> sockets,
                                          std::optional<std::uint32_t> index) {
  NetlinkRequest request(NBD_CMD_CONNECT, NBD_GENL_VERSION);
  if (index) request.put_u32(NBD_ATTR_INDEX, *index);
  request.put_u64(NBD_ATTR_SIZE_BYTES, settings.size.value);
  request.put_u64(NBD_ATTR_BLOCK_SIZE_BYTES, settings.block_size.value);
  request.put_u64(NBD_ATTR_SERVER_FLAGS, server_flags(settings));
  put_timeouts(request, settings);
  put_identifier(request, settings.identifier);
  put_sockets(request, sockets);

  DADI_TRY(const auto answer, netlink_.ask(request));
  const std::string what = "set up " + name_of(index);
  if (answer.error == EBUSY && index) {
    return refusal(answer, what).with_hint("another program serves it: leave the choice of the device to dadi");
  }
  if (answer.error == EBUSY || answer.error == ENOSPC) return Error::exhausted("{}: every one is in use", what);
  if (answer.error == EINVAL) {
    return Error::invalid_argument("{}: the kernel refuses {} bytes in blocks of {} over {} connections", what,
                                   settings.size.value, settings.block_size.value, sockets.size());
  }
  if (answer.error != 0) return refusal(answer, what);
  for (const auto& message : answer.messages) {
    DADI_TRY(const auto attributes, NetlinkAttributes::parse(message));
    if (const auto given = attributes.u32(NBD_ATTR_INDEX)) return *given;
  }
  return Error::corruption("{}: the kernel's answer names no device", what);
}

Result<void> NbdNetlink::reconfigure(std::uint32_t index, const NetlinkRequest& request) {
  DADI_TRY(const auto answer, netlink_.ask(request));
  const std::string what = "reconfigure " + name_of(index);
  if (answer.error == EINVAL || answer.error == ENOENT || answer.error == EBUSY) {
    return Error::not_found("{}: it is not set up, or serves something else by now", what);
  }
  if (answer.error != 0) return refusal(answer, what);
  return {};
}

Result<void> NbdNetlink::reconnect(std::uint32_t index, const NbdDeviceSettings& settings,
                                   std::span<const int> sockets) {
  NetlinkRequest request(NBD_CMD_RECONFIGURE, NBD_GENL_VERSION);
  request.put_u32(NBD_ATTR_INDEX, index);
  put_timeouts(request, settings);
  put_identifier(request, settings.identifier);
  put_sockets(request, sockets);
  return reconfigure(index, request);
}

Result<void> NbdNetlink::set_end(std::uint32_t index, const std::string& identifier, NbdDeviceEnd end) {
  NetlinkRequest request(NBD_CMD_RECONFIGURE, NBD_GENL_VERSION);
  request.put_u32(NBD_ATTR_INDEX, index);
  std::uint64_t flags = 0;
  if (end.on_close) flags |= NBD_CFLAG_DISCONNECT_ON_CLOSE;
  if (end.destroyed) flags |= NBD_CFLAG_DESTROY_ON_DISCONNECT;
  request.put_u64(NBD_ATTR_CLIENT_FLAGS, flags);
  put_identifier(request, identifier);
  return reconfigure(index, request);
}

Result<void> NbdNetlink::disconnect(std::uint32_t index) {
  NetlinkRequest request(NBD_CMD_DISCONNECT, NBD_GENL_VERSION);
  request.put_u32(NBD_ATTR_INDEX, index);
  DADI_TRY(const auto answer, netlink_.ask(request));
  const std::string what = "disconnect " + name_of(index);
  if (answer.error == EINVAL || answer.error == ENOENT) return Error::not_found("{}: no such device", what);
  if (answer.error != 0) return refusal(answer, what);
  return {};
}

Result<bool> NbdNetlink::connected(std::uint32_t index) {
  NetlinkRequest request(NBD_CMD_STATUS, NBD_GENL_VERSION);
  request.put_u32(NBD_ATTR_INDEX, index);
  DADI_TRY(const auto answer, netlink_.ask(request));
  if (answer.error != 0) return refusal(answer, "status of " + name_of(index));
  for (const auto& message : answer.messages) {
    DADI_TRY(const auto attributes, NetlinkAttributes::parse(message));
    const auto list = attributes.find(NBD_ATTR_DEVICE_LIST);
    if (!list) continue;
    DADI_TRY(const auto items, NetlinkAttributes::parse(*list));
    for (const auto& item : items.all()) {
      if (item.type != NBD_DEVICE_ITEM) continue;
      DADI_TRY(const auto device, NetlinkAttributes::parse(item.content));
      if (device.u32(NBD_DEVICE_INDEX) == index) return device.u8(NBD_DEVICE_CONNECTED).value_or(0) != 0;
    }
  }
  return false;
}

}  // namespace dadi::attach
