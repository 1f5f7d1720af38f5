// Generic netlink, as much of it as asking a family of the kernel a question takes: requests with attributes, and
// answers that are read without trusting a length in them. Formats: linux/netlink.h, linux/genetlink.h; all in host
// byte order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi::attach {

// A command to a family, and its attributes, which may nest. A value type.
class NetlinkRequest {
 public:
  NetlinkRequest(std::uint8_t command, std::uint8_t version);

  void put_u32(std::uint16_t type, std::uint32_t value);
  void put_u64(std::uint16_t type, std::uint64_t value);
  void put_text(std::uint16_t type, std::string_view text);

  // The attributes that `fill` puts, within one of `type`.
  template <typename Fill>
  void nest(std::uint16_t type, Fill fill) {
    const std::size_t begin = begin_nest(type);
    fill();
    end_nest(begin);
  }

  // The whole message, ready to be sent. REQUIRES: no nest is open.
  std::vector<std::byte> message(std::uint16_t family, std::uint32_t sequence) const;

 private:
  void put(std::uint16_t type, std::span<const std::byte> content);
  std::size_t begin_nest(std::uint16_t type);
  void end_nest(std::size_t begin);

  std::vector<std::byte> bytes_;  // from the netlink header on
};

// The attributes of a message or of a nest. Borrows the bytes that it was parsed from.
class NetlinkAttributes {
 public:
  struct Attribute {
    std::uint16_t type;
    std::span<const std::byte> content;
  };

  // Errors: corruption (an attribute reaches past the end).
  static Result<NetlinkAttributes> parse(std::span<const std::byte> bytes);

  const std::vector<Attribute>& all() const { return attributes_; }
  // Each is nullopt without such an attribute, or if it is of another size. The first of a type counts.
  std::optional<std::span<const std::byte>> find(std::uint16_t type) const;
  std::optional<std::uint8_t> u8(std::uint16_t type) const;
  std::optional<std::uint16_t> u16(std::uint16_t type) const;
  std::optional<std::uint32_t> u32(std::uint16_t type) const;

 private:
  std::vector<Attribute> attributes_;
};

// What a family answered.
struct NetlinkAnswer {
  bool complete = false;                         // the kernel's verdict arrived
  int error = 0;                                 // 0, or the errno with which it refused
  std::string explanation;                       // the kernel's own words on it, often none
  std::vector<std::vector<std::byte>> messages;  // attributes of each message of the answer
};

// Adds to `answer` what a datagram from the kernel says about request `sequence`; messages for others are passed over.
// Errors: corruption (a length reaches past the end).
Result<void> read_netlink_datagram(std::span<const std::byte> datagram, std::uint32_t sequence, NetlinkAnswer& answer);

// A line to one family of the kernel. For one thread at a time.
class GenericNetlink {
 public:
  // Errors: not_found (the kernel has no such family), io.
  static Result<GenericNetlink> open(std::string_view family);

  // Asks, and waits for the kernel's verdict, which may be a refusal. Errors: io, corruption.
  Result<NetlinkAnswer> ask(const NetlinkRequest& request);

 private:
  explicit GenericNetlink(UniqueFd socket) : socket_(std::move(socket)) {}
  Result<NetlinkAnswer> ask(std::uint16_t family, const NetlinkRequest& request);

  UniqueFd socket_;
  std::uint16_t family_ = 0;
  std::uint32_t sequence_ = 0;
};

}  // namespace dadi::attach
