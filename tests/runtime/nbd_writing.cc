// Writing over NBD.
#include "tests/runtime/nbd_client.h"

namespace dadi::nbd {
namespace {

class NbdWriting : public NbdTest {
 protected:
  NbdWriting() {
    writable_ = true;
    device_->fill(0, 100);
  }
};

TEST_F(NbdWriting, WhatWasWrittenIsReadBack) {
  Client& client = connect();
  client.begin();
  std::mt19937 random(2);
  for (int i = 0; i < 60; ++i) {
    const std::size_t size = (1 + random() % (i % 4 == 0 ? 2000 : 16)) * 512;
    const std::size_t offset = random() % (kSectors - size / 512) * 512;
    std::string data(size, '\0');
    for (char& c : data) c = static_cast<char>(random());
    ASSERT_EQ(client.ask_write(offset, data).error, Errno::kNone);
    ASSERT_EQ(client.ask(Command::kRead, offset, static_cast<std::uint32_t>(size)).data, data);
    ASSERT_EQ(device_->content(offset, size), data);
  }
  EXPECT_EQ(device_->flushes, 0);
}

TEST_F(NbdWriting, ManyWritesAtOnceAllArrive) {
  Client& client = connect(From::kTransmission);
  std::string batch;
  for (std::uint64_t i = 0; i < 200; ++i)
    batch += Client::request_bytes(Command::kWrite, i, i * 4096, 4096) + std::string(4096, static_cast<char>(i));
  std::jthread sender([&] { client.send(batch); });
  for (int i = 0; i < 200; ++i) EXPECT_EQ(client.reply().error, Errno::kNone);
  for (std::size_t i = 0; i < 200; ++i)
    ASSERT_EQ(device_->content(i * 4096, 4096), std::string(4096, static_cast<char>(i)));
}

TEST_F(NbdWriting, FlushAndFuaReachTheDevice) {
  Client& client = connect();
  client.begin();
  EXPECT_EQ(client.ask(Command::kFlush, 0, 0).error, Errno::kNone);
  EXPECT_EQ(device_->flushes, 1);
  EXPECT_EQ(client.ask_write(0, std::string(512, 'a'), kFua).error, Errno::kNone);
  EXPECT_EQ(device_->flushes, 2);
  EXPECT_EQ(client.ask(Command::kWriteZeroes, 0, 512, kFua).error, Errno::kNone);
  EXPECT_EQ(client.ask(Command::kTrim, 0, 512, kFua).error, Errno::kNone);
  EXPECT_EQ(device_->flushes, 4);
  EXPECT_EQ(client.ask(Command::kRead, 0, 512, kFua).error, Errno::kNone);  // allowed, and means nothing
}

TEST_F(NbdWriting, AClientThatOnlyWaitsForItsFlushesIsServedByOneThread) {
  Client& client = connect(From::kTransmission);
  std::set<std::thread::id> first;
  std::set<std::thread::id> later;
  for (int i = 0; i < 70; ++i) {
    const Reply reply =
        i % 2 == 0 ? client.ask(Command::kFlush, 0, 0) : client.ask_write(0, std::string(512, 'a'), kFua);
    EXPECT_EQ(reply.error, Errno::kNone);
    (i < 16 ? first : later).insert(device_->flusher);
  }
  EXPECT_EQ(device_->flushes, 70);
  ASSERT_EQ(later.size(), 1U);
  EXPECT_FALSE(first.contains(*later.begin()));
  // Now and then others do it again, to see what the client does meanwhile.
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(client.ask(Command::kFlush, 0, 0).error, Errno::kNone);
    later.insert(device_->flusher);
  }
  EXPECT_GT(later.size(), 1U);
}

TEST_F(NbdWriting, AClientThatAsksForMoreDuringAFlushIsAnsweredMeanwhile) {
  Client& client = connect(From::kTransmission);
  for (int i = 0; i < 200; ++i) {
    device_->stall_flushes(true);
    client.request(Command::kFlush, 1, 0, 0);
    client.request(Command::kRead, 2, 0, 512);
    ASSERT_EQ(client.reply().cookie, 2U) << i;
    device_->stall_flushes(false);
    ASSERT_EQ(client.reply().cookie, 1U);
  }
}

TEST_F(NbdWriting, ZeroesAndTrimsShowInBlockStatus) {
  Client& client = connect();
  client.begin();
  using Extents = std::vector<std::pair<std::uint32_t, std::uint32_t>>;
  EXPECT_EQ(client.ask(Command::kWriteZeroes, 512, 1024).error, Errno::kNone);
  EXPECT_EQ(client.ask(Command::kWriteZeroes, 4096, 1024, kNoHole | kFastZero).error, Errno::kNone);
  EXPECT_EQ(client.ask(Command::kTrim, 8192, 512).error, Errno::kNone);
  EXPECT_EQ(client.ask(Command::kBlockStatus, 0, 9216).extents,
            (Extents{{512, 0}, {1024, kStateZero}, {2560, 0}, {1024, kStateZero}, {3072, 0}, {512, 3}, {512, 0}}));
  EXPECT_EQ(client.ask(Command::kRead, 512, 1024).data, std::string(1024, '\0'));
}

TEST_F(NbdWriting, WhatDoesNotFitTheExportIsRefusedAndItsDataTaken) {
  Client& client = connect();
  client.begin();
  constexpr std::uint64_t kSize = kSectors * kSectorSize;
  const std::string before = device_->content(0, 4096);
  EXPECT_EQ(client.ask_write(1, std::string(512, 'x')).error, Errno::kInvalid);
  EXPECT_EQ(client.ask_write(0, std::string(513, 'x')).error, Errno::kInvalid);
  EXPECT_EQ(client.ask_write(kSize - 512, std::string(1024, 'x')).error, Errno::kNoSpace);
  EXPECT_EQ(client.ask_write(~0ULL - 511, std::string(1024, 'x')).error, Errno::kNoSpace);
  EXPECT_EQ(client.ask_write(0, std::string((32 << 20) + 512, 'x')).error, Errno::kNoSpace);
  EXPECT_EQ(client.ask_write(0, std::string(512, 'x'), kDf).error, Errno::kInvalid);
  EXPECT_EQ(client.ask_write(0, "").error, Errno::kNone);
  EXPECT_EQ(client.ask(Command::kWriteZeroes, 0, 100).error, Errno::kInvalid);
  EXPECT_EQ(client.ask(Command::kWriteZeroes, kSize, 512).error, Errno::kNoSpace);
  EXPECT_EQ(client.ask(Command::kTrim, kSize, 512).error, Errno::kInvalid);
  EXPECT_EQ(client.ask(Command::kFlush, 0, 512).error, Errno::kInvalid);
  EXPECT_EQ(device_->content(0, 4096), before);
  EXPECT_EQ(client.ask(Command::kRead, 0, 4096).data, before);
}

TEST_F(NbdWriting, AFullDeviceIsNoSpaceForThatRequest) {
  device_->fail(50, ErrorCode::kExhausted);
  Client& client = connect();
  client.begin();
  EXPECT_EQ(client.ask_write(50 * 512, std::string(512, 'x')).error, Errno::kNoSpace);
  EXPECT_EQ(client.ask_write(51 * 512, std::string(512, 'x')).error, Errno::kNone);
}

}  // namespace
}  // namespace dadi::nbd
