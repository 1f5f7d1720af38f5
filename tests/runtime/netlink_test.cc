#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>

#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <random>

#include "libformat/base/bytes.h"
#include "runtime/attach/generic_netlink.h"
#include "runtime/attach/nbd_device.h"
#include "runtime/attach/nbd_netlink.h"

namespace dadi::attach {
namespace {

using Datagram = std::vector<std::byte>;

template <typename T>
void add(Datagram& to, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void add_text(Datagram& to, std::string_view text) {
  const auto bytes = as_bytes(text);
  to.insert(to.end(), bytes.begin(), bytes.end());
  to.resize((to.size() + 3) / 4 * 4);
}

nlmsghdr header(std::size_t body, std::uint16_t type, std::uint32_t sequence, std::uint16_t flags = 0) {
  return {.nlmsg_len = static_cast<std::uint32_t>(sizeof(nlmsghdr) + body),
          .nlmsg_type = type,
          .nlmsg_flags = flags,
          .nlmsg_seq = sequence,
          .nlmsg_pid = 0};
}

Datagram verdict(int error, std::uint32_t sequence) {
  Datagram datagram;
  add(datagram, header(sizeof(nlmsgerr), NLMSG_ERROR, sequence));
  add(datagram, nlmsgerr{.error = -error, .msg = {}});
  return datagram;
}

TEST(Netlink, RequestsHoldTheirAttributesAlignedAndNested) {
  NetlinkRequest request(7, 1);
  request.put_text(3, "ab");
  request.nest(9, [&] { request.nest(1, [&] { request.put_u32(2, 0xdeadbeef); }); });
  const auto message = request.message(0x1c, 42);

  nlmsghdr head;
  std::memcpy(&head, message.data(), sizeof head);
  EXPECT_EQ(head.nlmsg_len, message.size());
  EXPECT_EQ(head.nlmsg_type, 0x1c);
  EXPECT_EQ(head.nlmsg_seq, 42U);
  EXPECT_EQ(head.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
  const auto attributes = NetlinkAttributes::parse(std::span(message).subspan(NLMSG_HDRLEN + GENL_HDRLEN));
  ASSERT_TRUE(attributes);
  EXPECT_EQ(as_text(attributes->find(3).value()), std::string_view("ab\0", 3));
  const auto outer = NetlinkAttributes::parse(attributes->find(9).value());
  ASSERT_TRUE(outer);
  const auto inner = NetlinkAttributes::parse(outer->find(1).value());
  ASSERT_TRUE(inner);
  EXPECT_EQ(inner->u32(2), 0xdeadbeef);
  EXPECT_EQ(inner->u8(2), std::nullopt) << "of another size";
}

TEST(Netlink, ReadsTheAnswerAndTheVerdictFromOneDatagram) {
  Datagram datagram;
  add(datagram, header(GENL_HDRLEN + 8, 0x1c, 5));
  add(datagram, genlmsghdr{});
  add(datagram, nlattr{.nla_len = 8, .nla_type = 1});
  add(datagram, std::uint32_t{77});
  const Datagram end = verdict(0, 5);
  datagram.insert(datagram.end(), end.begin(), end.end());

  NetlinkAnswer answer;
  ASSERT_TRUE(read_netlink_datagram(datagram, 5, answer));
  EXPECT_TRUE(answer.complete);
  EXPECT_EQ(answer.error, 0);
  ASSERT_EQ(answer.messages.size(), 1U);
  EXPECT_EQ(NetlinkAttributes::parse(answer.messages[0])->u32(1), 77U);
}

TEST(Netlink, ReadsTheKernelsOwnWordsOnARefusal) {
  Datagram datagram;
  Datagram words;
  add_text(words, std::string_view("no such thing\0", 14));
  add(datagram, header(sizeof(nlmsgerr) + 4 + words.size(), NLMSG_ERROR, 5, NLM_F_CAPPED | NLM_F_ACK_TLVS));
  add(datagram, nlmsgerr{.error = -EINVAL, .msg = {}});
  add(datagram, nlattr{.nla_len = 4 + 14, .nla_type = NLMSGERR_ATTR_MSG});
  datagram.insert(datagram.end(), words.begin(), words.end());

  NetlinkAnswer answer;
  ASSERT_TRUE(read_netlink_datagram(datagram, 5, answer));
  EXPECT_EQ(answer.error, EINVAL);
  EXPECT_EQ(answer.explanation, "no such thing");
}

TEST(Netlink, PassesOverAnswersToOtherQuestions) {
  NetlinkAnswer answer;
  ASSERT_TRUE(read_netlink_datagram(verdict(EBUSY, 4), 5, answer));
  EXPECT_FALSE(answer.complete);
}

TEST(Netlink, RefusesLengthsThatReachPastTheEnd) {
  for (const std::uint32_t length : {0U, 15U, 1000U, 0xffffffffU}) {
    Datagram datagram = verdict(0, 5);
    std::memcpy(datagram.data(), &length, sizeof length);
    NetlinkAnswer answer;
    const auto result = read_netlink_datagram(datagram, 5, answer);
    ASSERT_FALSE(result) << length;
    EXPECT_EQ(result.error().code(), ErrorCode::kCorruption);
  }
  for (const std::uint16_t length : std::initializer_list<std::uint16_t>{0, 3, 9, 0xffff}) {
    Datagram attributes;
    add(attributes, nlattr{.nla_len = length, .nla_type = 1});
    add(attributes, std::uint32_t{1});
    EXPECT_FALSE(NetlinkAttributes::parse(attributes)) << length;
  }
}

TEST(Netlink, RefusesAVerdictThatIsNoErrorNumberOrTooShort) {
  NetlinkAnswer answer;
  EXPECT_FALSE(read_netlink_datagram(verdict(-5, 5), 5, answer));
  EXPECT_FALSE(read_netlink_datagram(verdict(4096, 5), 5, answer));
  Datagram cut;
  add(cut, header(4, NLMSG_ERROR, 5));
  add(cut, std::int32_t{0});
  EXPECT_FALSE(read_netlink_datagram(cut, 5, answer));
  EXPECT_FALSE(answer.complete);
}

TEST(Netlink, AnyBytesAreReadOrRefused) {  // under the sanitizers, this is about what lies past the end
  std::mt19937 random(1);
  Datagram seed;
  add(seed, header(GENL_HDRLEN + 8, 0x1c, 5));
  add(seed, genlmsghdr{});
  add(seed, nlattr{.nla_len = 8, .nla_type = 1});
  add(seed, std::uint32_t{77});
  const Datagram end = verdict(EINVAL, 5);
  seed.insert(seed.end(), end.begin(), end.end());
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    Datagram datagram = seed;
    datagram.resize(random() % (seed.size() + 1));
    for (int i = 0; i < 3 && !datagram.empty(); ++i) {
      datagram[random() % datagram.size()] = static_cast<std::byte>(random() % 256);
    }
    datagram.shrink_to_fit();
    NetlinkAnswer answer;
    if (!read_netlink_datagram(datagram, 5, answer)) ++refused;
    for (const auto& message : answer.messages) std::ignore = NetlinkAttributes::parse(message).has_value();
  }
  EXPECT_GT(refused, 1000);
}

TEST(Netlink, FindsAFamilyOfTheKernelAndSaysWhichItLacks) {
  auto controller = GenericNetlink::open("nlctrl");
  ASSERT_TRUE(controller) << controller.error().message();
  NetlinkRequest question(CTRL_CMD_GETFAMILY, 1);
  question.put_text(CTRL_ATTR_FAMILY_NAME, "nlctrl");
  const auto answer = controller->ask(question);
  ASSERT_TRUE(answer) << answer.error().message();
  ASSERT_EQ(answer->messages.size(), 1U);
  EXPECT_EQ(NetlinkAttributes::parse(answer->messages[0])->u16(CTRL_ATTR_FAMILY_ID), GENL_ID_CTRL);

  const auto none = GenericNetlink::open("dadi-none");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), ErrorCode::kNotFound);
}

TEST(NbdNetlink, SaysHowToLoadNbdWhereItIsNot) {
  const auto nbd = NbdNetlink::open();
  if (nbd) GTEST_SKIP() << "this kernel has nbd";
  EXPECT_EQ(nbd.error().code(), ErrorCode::kHostLacks);
  EXPECT_NE(nbd.error().hint().find("modprobe nbd"), std::string::npos);
  EXPECT_FALSE(nbd_device_state(0).set_up);
}

}  // namespace
}  // namespace dadi::attach
