// What clients can do to an NBD server: nonsense, floods, silence, absence; and how they are let go.
#include <sys/un.h>

#include <ctime>
#include <filesystem>

#include "runtime/nbd/listen.h"
#include "runtime/nbd/server.h"
#include "tests/runtime/nbd_client.h"

namespace dadi::nbd {
namespace {

using namespace std::chrono_literals;

class NbdClients : public NbdTest {
 protected:
  NbdClients() { device_->fill(0, kSectors); }
};

TEST_F(NbdClients, AHandshakeThatTakesTooLongEnds) {
  limits_.handshake = 50ms;
  Client& client = connect();
  client.greet();
  EXPECT_TRUE(client.disconnected());
  end_of_last();
  EXPECT_NE(told().find("the handshake took too long"), std::string::npos) << told();
}

TEST_F(NbdClients, AHandshakeOfAByteNowAndThenEndsToo) {
  limits_.handshake = 100ms;
  Client& client = connect();
  const std::string greeting = be(std::uint32_t{3}) + be(kOptionMagic);
  for (int i = 0; i < 12; ++i) {
    ::send(client.fd(), greeting.data() + i, 1, MSG_NOSIGNAL);
    std::this_thread::sleep_for(20ms);
  }
  client.receive(18);
  EXPECT_TRUE(client.disconnected());
}

TEST_F(NbdClients, ARequestWhoseRestDoesNotComeEndsTheConnection) {
  limits_.partial = 200ms;
  for (const bool writing : {false, true}) {
    writable_ = writing;
    Client& client = connect();
    client.begin();
    const std::string request = Client::request_bytes(Command::kWrite, 1, 0, 4096);
    client.send(writing ? request + "some of the data" : request.substr(0, 20));
    EXPECT_TRUE(client.disconnected());
    end_of_last();
  }
}

TEST_F(NbdClients, AClientThatAsksForNothingMayStay) {
  limits_.partial = limits_.handshake = limits_.stalled = 300ms;
  Client& client = connect();
  client.begin();
  for (const std::uint32_t size : {512U, 8U << 20}) {
    std::this_thread::sleep_for(600ms);
    EXPECT_TRUE(client.ask(Command::kRead, 0, size).data == device_->content(0, size)) << size;
  }
}

TEST_F(NbdClients, AClientThatWasQuickAndIsSilentCostsNothing) {
  Client& client = connect();
  client.begin();
  for (int i = 0; i < 2000; ++i) ASSERT_EQ(client.ask(Command::kRead, 0, 512).error, Errno::kNone);
  const std::clock_t before = std::clock();  // of this process's processor time
  std::this_thread::sleep_for(500ms);
  EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 10);
}

TEST_F(NbdClients, AClientThatTakesNoRepliesIsDisconnected) {
  limits_.stalled = 50ms;
  Client& client = connect();
  client.begin();
  for (std::uint64_t i = 0; i < 4; ++i) client.request(Command::kRead, i, 0, 4 << 20);
  end_of_last();
  EXPECT_NE(told().find("replies were not taken"), std::string::npos) << told();
}

TEST_F(NbdClients, WhoTakesNoRepliesHoldsNoMoreMemoryThanTheLimit) {
  constexpr int kAsked = 2000;
  constexpr std::uint32_t kSize = 128 << 10;
  limits_.memory = 2 * kSize;
  // Zeros that are data: the replies are small, the memory that they were read into is not.
  ASSERT_TRUE(device_->write_at({0}, std::vector<std::byte>(kSize)));
  Client& client = connect();
  client.begin();
  std::jthread flood([&] {
    for (std::uint64_t i = 0; i < kAsked; ++i) client.request(Command::kRead, i, 0, kSize);
  });
  int before = -1;
  while (before != device_->reads) {  // until its socket is full
    before = device_->reads;
    std::this_thread::sleep_for(300ms);
  }
  EXPECT_LT(before, kAsked);
  for (int i = 0; i < kAsked; ++i) ASSERT_EQ(client.reply().data.size(), kSize);
}

TEST_F(NbdClients, AFloodOfLargeReadsIsAnsweredWithinTheLimitOfMemory) {
  limits_.memory = 1 << 20;
  Client& client = connect();
  client.begin();
  std::jthread flood([&] {
    for (std::uint64_t i = 0; i < 8; ++i) client.request(Command::kRead, i, 0, 6 << 20);
  });
  flood.join();
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(client.reply().data == device_->content(0, 6 << 20));
}

TEST_F(NbdClients, AClientThatVanishesWithRequestsInFlightIsForgottenAtOnce) {
  device_->stall(5);
  Client& client = connect();
  client.begin();
  client.request(Command::kRead, 1, 0, 4096);
  client.request(Command::kRead, 2, 0, 1 << 20);
  client.hang_up();
  EXPECT_FALSE(end_of_last());  // although nobody released the sector
}

TEST_F(NbdClients, DisconnectWaitsForWhatIsInFlight) {
  device_->stall(5);
  Client& client = connect();
  client.begin();
  client.request(Command::kRead, 1, 0, 4096);
  client.request(Command::kDisconnect, 2, 0, 0);
  std::this_thread::sleep_for(20ms);
  device_->release();
  EXPECT_EQ(client.reply().data, device_->content(0, 4096));
  EXPECT_TRUE(client.disconnected());
}

TEST_F(NbdClients, NonsenseEndsTheConnection) {
  const std::string option = be(kOptionMagic) + be(7U);
  const std::string nonsense[] = {
      be(4U),                                                              // unknown client flags
      be(3U) + std::string(16, 'x'),                                       // no magic
      be(3U) + be(kOptionMagic) + be(1U) + be(7U) + "unknown",             // no such export, asked for the old way
      be(3U) + be(kOptionMagic) + be(1U) + be(100'000U),                   // a name of that length
      be(3U) + be(kOptionMagic) + be(1U) + be(0U) + std::string(28, 'x'),  // a request without its magic
  };
  for (const std::string& text : nonsense) {
    Client& client = connect();
    client.receive(18);
    client.send(text);
    client.receive(10);  // size and flags, where it comes that far
    EXPECT_TRUE(client.disconnected());
    end_of_last();
  }
}

TEST_F(NbdClients, OptionsThatMakeNoSenseAreAnsweredAndTheHandshakeGoesOn) {
  Client& client = connect();
  client.greet();
  const auto says = [&](Option option, std::string_view data) {
    client.option(option, data);
    return client.option_reply();
  };
  const std::string no_infos = be(std::uint16_t{0});
  EXPECT_EQ(says(Option{12345}, "anything"), OptionReply::kErrorUnsupported);
  EXPECT_EQ(says(Option::kList, "x"), OptionReply::kErrorInvalid);
  EXPECT_EQ(says(Option::kStartTls, ""), OptionReply::kErrorPolicy);
  EXPECT_EQ(says(Option::kGo, ""), OptionReply::kErrorInvalid);
  EXPECT_EQ(says(Option::kGo, be(5U) + "ab" + no_infos), OptionReply::kErrorInvalid);
  EXPECT_EQ(says(Option::kGo, be(~0U) + no_infos), OptionReply::kErrorInvalid);
  EXPECT_EQ(says(Option::kGo, be(0U) + be(std::uint16_t{9})), OptionReply::kErrorInvalid);
  EXPECT_EQ(says(Option::kGo, be(0U) + no_infos + "x"), OptionReply::kErrorInvalid);
  EXPECT_EQ(says(Option::kGo, be(3U) + "who" + no_infos), OptionReply::kErrorUnknown);
  EXPECT_EQ(says(Option::kStructuredReply, "x"), OptionReply::kErrorInvalid);
  EXPECT_EQ(says(Option::kSetMetaContext, be(0U) + be(0U)), OptionReply::kErrorInvalid);  // no structured replies
  EXPECT_EQ(says(Option::kStructuredReply, ""), OptionReply::kAck);
  EXPECT_EQ(says(Option::kSetMetaContext, be(0U) + be(0U)), OptionReply::kAck);
  EXPECT_EQ(says(Option::kSetMetaContext, be(0U) + be(1U) + be(5U) + "base:"), OptionReply::kAck);
  EXPECT_EQ(says(Option::kSetMetaContext, be(0U) + be(1U) + be(7U) + "nocolon"), OptionReply::kErrorInvalid);
  EXPECT_EQ(says(Option::kSetMetaContext, be(0U) + be(~0U)), OptionReply::kErrorInvalid);
  EXPECT_EQ(says(Option::kListMetaContext, be(0U) + be(0U)), OptionReply::kMetaContext);
  EXPECT_EQ(client.option_reply(), OptionReply::kAck);
  EXPECT_EQ(says(Option::kInfo, std::string(100'000, 'x')), OptionReply::kErrorTooBig);
  EXPECT_EQ(says(Option::kAbort, ""), OptionReply::kAck);
  EXPECT_TRUE(client.disconnected());
}

TEST_F(NbdClients, OptionsWithoutEndEndTheConnection) {
  Client& client = connect();
  client.greet();
  for (int i = 0; i < 300; ++i) {
    const std::string list = be(kOptionMagic) + be(std::uint32_t{3}) + be(0U);
    ::send(client.fd(), list.data(), list.size(), MSG_NOSIGNAL);
  }
  end_of_last();
  EXPECT_NE(told().find("options"), std::string::npos) << told();
}

TEST_F(NbdClients, AQuiescedConnectionGoesOnElsewhereWithoutLosingARequest) {
  Client& client = connect(From::kTransmission);
  std::atomic<bool> enough = false;
  std::thread load([&] {
    std::mt19937 random(3);
    for (std::uint64_t i = 0; !enough; i += 8) {
      std::string batch;
      for (std::uint64_t j = i; j < i + 8; ++j)
        client.request(Command::kRead, j, random() % 4096 * 512, static_cast<std::uint32_t>(1 + random() % 99'999));
      for (int j = 0; j < 8; ++j) {
        const Reply reply = client.reply();
        ASSERT_EQ(reply.error, Errno::kNone);
      }
    }
  });
  for (int i = 0; i < 50; ++i) {
    std::this_thread::sleep_for(3ms);
    last().quiesce();
    auto handover = end_of_last();
    ASSERT_TRUE(handover);
    serve(std::move(handover->socket), From::kTransmission, handover->unparsed);
  }
  enough = true;
  load.join();
}

TEST_F(NbdClients, QuiescingGivesBackWhatWasNotParsed) {
  device_->stall(5);
  Client& client = connect(From::kTransmission);
  client.request(Command::kRead, 1, 0, 4096);
  std::this_thread::sleep_for(20ms);
  last().quiesce();
  device_->release();
  EXPECT_EQ(client.reply().data, device_->content(0, 4096));
  auto handover = end_of_last();
  ASSERT_TRUE(handover);
  const std::string request = Client::request_bytes(Command::kRead, 2, 0, 0);
  serve(std::move(handover->socket), From::kTransmission, as_bytes(request).first(request.size() - 5));
  client.send(request.substr(request.size() - 5));
  EXPECT_EQ(client.reply().cookie, 2U);
}

class NbdServer : public NbdTest {
 protected:
  NbdServer() {
    device_->fill(0, kSectors);
    path_ = std::filesystem::temp_directory_path() / ("dadi-nbd-test-" + std::to_string(::getpid()));
    std::filesystem::remove(path_);
  }
  ~NbdServer() override { std::filesystem::remove(path_); }

  std::unique_ptr<Server> start() {
    std::vector<UniqueFd> sockets;
    sockets.push_back(listen_unix(path_).value());
    ServerOptions options;
    options.limits = limits_;
    options.observer = environment_.observer;
    return std::move(
        Server::start({Export{"", "", device_, nullptr}}, std::move(sockets), environment_.workers, std::move(options))
            .value());
  }
  Client dial() const {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.native().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return Client(std::move(fd));
  }

  std::filesystem::path path_;
};

TEST_F(NbdServer, TurnsAwayClientsBeyondItsLimitAndLetsInTheNextWhenOneLeaves) {
  limits_.connections = 2;
  const auto server = start();
  auto first = std::make_unique<Client>(dial());
  Client second = dial();
  first->begin();
  second.begin();
  EXPECT_TRUE(dial().disconnected());
  EXPECT_EQ(server->clients(), 2U);
  first->hang_up();
  while (server->clients() == 2) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(5ms);
  Client third = dial();
  third.begin();
  EXPECT_EQ(third.ask(Command::kRead, 0, 512).data, device_->content(0, 512));
}

TEST_F(NbdServer, AnswersWhatIsInFlightWhenItStops) {
  device_->stall(5);
  const auto server = start();
  Client client = dial();
  client.begin();
  client.request(Command::kRead, 1, 0, 4096);
  std::this_thread::sleep_for(20ms);
  std::jthread stopping([&] { server->stop(); });
  std::this_thread::sleep_for(20ms);
  device_->release();
  EXPECT_EQ(client.reply().data, device_->content(0, 4096));
  EXPECT_TRUE(client.disconnected());
}

TEST_F(NbdServer, StopsAlthoughARequestStalls) {
  limits_.grace = 50ms;
  device_->stall(5);
  const auto server = start();
  Client client = dial();
  client.begin();
  client.request(Command::kRead, 1, 0, 4096);
  std::this_thread::sleep_for(10ms);
  server->stop();
  EXPECT_TRUE(client.disconnected());
}

TEST_F(NbdServer, ASocketIsItsOwnersAloneAndReplacesNoOther) {
  {
    const auto server = start();
    EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms{0600});
    EXPECT_EQ(listen_unix(path_).error().code(), ErrorCode::kBusy);
  }
  EXPECT_TRUE(listen_unix(path_));  // what a server that is gone has left is replaced
  EXPECT_EQ(listen_unix(std::string(200, 'x')).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(listen_unix("/dev/null").error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace dadi::nbd
