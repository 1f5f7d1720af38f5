// The kernel's network block devices, /dev/nbd0 and on, set up over generic netlink: no ioctl, and no process that must
// stay for the device to live. What the kernel does with each field: linux/nbd-netlink.h and the nbd driver.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "libformat/base/result.h"
#include "libformat/base/units.h"
#include "runtime/attach/generic_netlink.h"

namespace dadi::attach {

// How a device behaves, and who serves it.
struct NbdDeviceSettings {
  Bytes size;
  Bytes block_size = {kSectorSize};  // a power of two, 512 to 4096: the least that can be read
  bool writable = false;             // then it can flush, write through, trim and zero, too
  // A request without an answer for so long goes to another connection, and its own is given up. Also how long a
  // request that was with a server when this died waits before it is asked again.
  std::chrono::seconds timeout{30};
  // While no connection lives, requests wait for so long for a new one; then they fail, and so does the device for
  // good.
  std::chrono::seconds dead_connection_timeout{120};
  // Shown in /sys/block/nbdN/backend (Linux 5.14 and on), which then refuses to be reconfigured under another name: a
  // device that was given to somebody else in between cannot be taken by mistake. Empty: none.
  std::string identifier;
};

struct NbdDeviceEnd {
  bool on_close = false;   // it disconnects itself when the last who has it open closes it
  bool destroyed = false;  // once disconnected, /dev/nbdN goes too
};

// Thread-compatible. Every call needs CAP_SYS_ADMIN: denied without.
class NbdNetlink {
 public:
  // Errors: host_lacks (nbd is not loaded), io.
  static Result<NbdNetlink> open();

  // Sets up device `index`, or a free one, with one connection for each socket, whose other ends are served from now
  // on, in the transmission phase. The kernel keeps the sockets; the caller may close them. Gives the index. Errors:
  // busy (the device is in use), exhausted (none is free), invalid_argument, denied, io.
  Result<std::uint32_t> connect(const NbdDeviceSettings& settings, std::span<const int> sockets,
                                std::optional<std::uint32_t> index);

  // Gives a device new sockets for connections that died; those for which there is no dead connection are dropped by
  // the kernel, which says nothing: their other ends read an end of file when the caller closes them. Errors: not_found
  // (no such device, or it is not set up, or under another identifier), denied, io.
  Result<void> reconnect(std::uint32_t index, const NbdDeviceSettings& settings, std::span<const int> sockets);

  // How the device ends from now on, in place of what was said before. Errors: as reconnect().
  Result<void> set_end(std::uint32_t index, const std::string& identifier, NbdDeviceEnd end);

  // Ends the device, whoever uses it: reads fail from then on. Errors: not_found (no such device), denied, io.
  Result<void> disconnect(std::uint32_t index);

  // Whether the device is set up, its connections alive or dead, or open. False also where there is no such device.
  Result<bool> connected(std::uint32_t index);

 private:
  explicit NbdNetlink(GenericNetlink netlink) : netlink_(std::move(netlink)) {}
  Result<void> reconfigure(std::uint32_t index, const NetlinkRequest& request);

  GenericNetlink netlink_;
};

}  // namespace dadi::attach
