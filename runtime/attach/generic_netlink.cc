#include "runtime/attach/generic_netlink.h"

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "libformat/base/bytes.h"

namespace dadi::attach {

namespace {

constexpr std::size_t kAlignment = NLMSG_ALIGNTO;  // of messages and of attributes
constexpr std::size_t kMessageHeader = sizeof(nlmsghdr);
constexpr std::size_t kAttributeHeader = sizeof(nlattr);
constexpr std::size_t kLargestDatagram = 64 * 1024;          // the kernel's own limit is 32 KiB
constexpr timeval kPatience = {.tv_sec = 30, .tv_usec = 0};  // the kernel answers before send() returns

constexpr std::size_t aligned(std::size_t size) {
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

template <typename T>
T load(std::span<const std::byte> bytes) {
  T value;
  std::memcpy(&value, bytes.first(sizeof value).data(), sizeof value);
  return value;
}

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
  to.resize(aligned(to.size()));
}

// `body`: an error number, the header of the request that it is about, and, if flagged, attributes.
Result<void> read_verdict(std::span<const std::byte> body, std::uint16_t flags, NetlinkAnswer& answer) {
  if (body.size() < sizeof(nlmsgerr)) return Error::corruption("netlink: a verdict of {} bytes", body.size());
  const auto number = load<std::int32_t>(body);
  if (number > 0 || number < -4095) return Error::corruption("netlink: a verdict of {}", number);
  answer.complete = true;
  answer.error = -number;
  if ((flags & NLM_F_ACK_TLVS) == 0 || (flags & NLM_F_CAPPED) == 0) return {};
  DADI_TRY(const auto attributes, NetlinkAttributes::parse(body.subspan(sizeof(nlmsgerr))));
  if (const auto text = attributes.find(NLMSGERR_ATTR_MSG)) {
    const std::string_view words = as_text(*text);
    answer.explanation = words.substr(0, words.find('\0'));
  }
  return {};
}

}  // namespace

NetlinkRequest::NetlinkRequest(std::uint8_t command, std::uint8_t version) {
  append(bytes_, bytes_of(nlmsghdr{}));
  append(bytes_, bytes_of(genlmsghdr{.cmd = command, .version = version, .reserved = 0}));
}

void NetlinkRequest::put(std::uint16_t type, std::span<const std::byte> content) {
  const std::size_t begin = begin_nest(type);
  bytes_.insert(bytes_.end(), content.begin(), content.end());
  end_nest(begin);
}

void NetlinkRequest::put_u32(std::uint16_t type, std::uint32_t value) {
  put(type, bytes_of(value));
}
void NetlinkRequest::put_u64(std::uint16_t type, std::uint64_t value) {
  put(type, bytes_of(value));
}
void NetlinkRequest::put_text(std::uint16_t type, std::string_view text) {
  std::string terminated(text);
  put(type, as_bytes(std::string_view(terminated.c_str(), terminated.size() + 1)));
}

std::size_t NetlinkRequest::begin_nest(std::uint16_t type) {
  const std::size_t begin = bytes_.size();
  append(bytes_, bytes_of(nlattr{.nla_len = 0, .nla_type = type}));
  return begin;
}

void NetlinkRequest::end_nest(std::size_t begin) {
  const auto length = static_cast<std::uint16_t>(bytes_.size() - begin);
  std::memcpy(bytes_.data() + begin, &length, sizeof length);
  bytes_.resize(aligned(bytes_.size()));
}

std::vector<std::byte> NetlinkRequest::message(std::uint16_t family, std::uint32_t sequence) const {
  std::vector<std::byte> whole = bytes_;
  const nlmsghdr header = {.nlmsg_len = static_cast<std::uint32_t>(whole.size()),
                           .nlmsg_type = family,
                           .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
                           .nlmsg_seq = sequence,
                           .nlmsg_pid = 0};
  std::memcpy(whole.data(), &header, sizeof header);
  return whole;
}

Result<NetlinkAttributes> NetlinkAttributes::parse(std::span<const std::byte> bytes) {
  NetlinkAttributes parsed;
  while (bytes.size() >= kAttributeHeader) {
    const auto header = load<nlattr>(bytes);
    if (header.nla_len < kAttributeHeader || header.nla_len > bytes.size()) {
      return Error::corruption("netlink: an attribute of {} bytes, with {} left", header.nla_len, bytes.size());
    }
    const auto type = static_cast<std::uint16_t>(header.nla_type & NLA_TYPE_MASK);
    parsed.attributes_.push_back({type, bytes.first(header.nla_len).subspan(kAttributeHeader)});
    bytes = bytes.subspan(std::min(aligned(header.nla_len), bytes.size()));
  }
  return parsed;
}

std::optional<std::span<const std::byte>> NetlinkAttributes::find(std::uint16_t type) const {
  const auto found = std::ranges::find(attributes_, type, &Attribute::type);
  if (found == attributes_.end()) return std::nullopt;
  return found->content;
}

namespace {

template <typename T>
std::optional<T> number(const NetlinkAttributes& attributes, std::uint16_t type) {
  const auto content = attributes.find(type);
  if (!content || content->size() != sizeof(T)) return std::nullopt;
  return load<T>(*content);
}

}  // namespace

std::optional<std::uint8_t> NetlinkAttributes::u8(std::uint16_t type) const {
  return number<std::uint8_t>(*this, type);
}
std::optional<std::uint16_t> NetlinkAttributes::u16(std::uint16_t type) const {
  return number<std::uint16_t>(*this, type);
}
std::optional<std::uint32_t> NetlinkAttributes::u32(std::uint16_t type) const {
  return number<std::uint32_t>(*this, type);
}

Result<void> read_netlink_datagram(std::span<const std::byte> datagram, std::uint32_t sequence, NetlinkAnswer& answer) {
  while (datagram.size() >= kMessageHeader) {
    const auto header = load<nlmsghdr>(datagram);
    if (header.nlmsg_len < kMessageHeader || header.nlmsg_len > datagram.size()) {
      return Error::corruption("netlink: a message of {} bytes, with {} left", header.nlmsg_len, datagram.size());
    }
    const auto body = datagram.first(header.nlmsg_len).subspan(kMessageHeader);
    datagram = datagram.subspan(std::min(aligned(header.nlmsg_len), datagram.size()));
    if (header.nlmsg_seq != sequence || header.nlmsg_type == NLMSG_NOOP) continue;
    if (header.nlmsg_type == NLMSG_ERROR) {
      DADI_CHECK(read_verdict(body, header.nlmsg_flags, answer));
    } else if (header.nlmsg_type >= NLMSG_MIN_TYPE) {
      if (body.size() < GENL_HDRLEN) return Error::corruption("netlink: a message of {} bytes", header.nlmsg_len);
      answer.messages.emplace_back(body.begin() + GENL_HDRLEN, body.end());
    }
  }
  return {};
}

Result<GenericNetlink> GenericNetlink::open(std::string_view family) {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
  if (!socket) return Error::from_errno(errno, "netlink socket");
  const int on = 1;
  // Best effort: better words on failure, and refusals that do not repeat the request.
  std::ignore = ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  std::ignore = ::setsockopt(socket.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0) {
    return Error::from_errno(errno, "netlink socket");
  }
  GenericNetlink netlink(std::move(socket));

  NetlinkRequest question(CTRL_CMD_GETFAMILY, 1);
  question.put_text(CTRL_ATTR_FAMILY_NAME, family);
  DADI_TRY(const auto answer, netlink.ask(GENL_ID_CTRL, question));
  if (answer.error == ENOENT) return Error::not_found("netlink family \"{}\"", family);
  if (answer.error != 0) return Error::from_errno(answer.error, fmt::format("netlink family \"{}\"", family));
  for (const auto& message : answer.messages) {
    DADI_TRY(const auto attributes, NetlinkAttributes::parse(message));
    if (const auto id = attributes.u16(CTRL_ATTR_FAMILY_ID); id && *id >= GENL_MIN_ID) {
      netlink.family_ = *id;
      return netlink;
    }
  }
  return Error::corruption("netlink family \"{}\": an answer without its number", family);
}

Result<NetlinkAnswer> GenericNetlink::ask(const NetlinkRequest& request) {
  return ask(family_, request);
}

Result<NetlinkAnswer> GenericNetlink::ask(std::uint16_t family, const NetlinkRequest& request) {
  const std::uint32_t sequence = ++sequence_;
  const auto message = request.message(family, sequence);
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent = 0;
  do {
    sent = ::sendto(socket_.get(), message.data(), message.size(), 0, reinterpret_cast<const sockaddr*>(&kernel),
                    sizeof kernel);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return Error::from_errno(errno, "netlink");

  NetlinkAnswer answer;
  std::vector<std::byte> datagram(kLargestDatagram);
  while (!answer.complete) {
    sockaddr_nl from = {};
    socklen_t from_size = sizeof from;
    const ssize_t size = ::recvfrom(socket_.get(), datagram.data(), datagram.size(), MSG_TRUNC,
                                    reinterpret_cast<sockaddr*>(&from), &from_size);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return Error::from_errno(errno, "netlink: the kernel's answer");
    if (static_cast<std::size_t>(size) > datagram.size())
      return Error::corruption("netlink: an answer of {} bytes", size);
    if (from.nl_pid != 0) continue;  // not the kernel: any process may send to this socket
    DADI_CHECK(read_netlink_datagram(std::span(datagram).first(static_cast<std::size_t>(size)), sequence, answer));
  }
  return answer;
}

}  // namespace dadi::attach
