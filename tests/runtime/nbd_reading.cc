// Reading over NBD: replies and what they carry, in which order they come, and errors.
#include "runtime/nbd/errors.h"
#include "tests/runtime/calmest.h"
#include "tests/runtime/nbd_client.h"

namespace dadi::nbd {
namespace {

using Clock = std::chrono::steady_clock;

class NbdReading : public NbdTest {
 protected:
  NbdReading() {
    device_->fill(0, 2000);
    device_->fill(4000, 4001);  // one sector of data among holes
    device_->fill(6000, 6500);
  }

  void expect_reads_equal_the_device(Client& client) {
    std::mt19937 random(1);
    for (int i = 0; i < 300; ++i) {
      const std::size_t size = 1 + random() % (i % 3 == 0 ? 400'000 : 9000);
      const std::size_t offset = random() % (kSectors * kSectorSize - size);
      const Reply reply = client.ask(Command::kRead, offset, static_cast<std::uint32_t>(size));
      ASSERT_EQ(reply.error, Errno::kNone);
      ASSERT_EQ(reply.data, device_->content(offset, size)) << offset << " " << size;
    }
  }
};

TEST_F(NbdReading, StructuredRepliesToReadsOfAnyAlignmentEqualTheDevice) {
  Client& client = connect();
  client.begin();
  expect_reads_equal_the_device(client);
}

TEST_F(NbdReading, SimpleRepliesToReadsOfAnyAlignmentEqualTheDevice) {
  Client& client = connect();
  client.begin(false);
  expect_reads_equal_the_device(client);
}

TEST_F(NbdReading, TheTransmissionPhaseCanBeginOnAGivenSocket) {
  expect_reads_equal_the_device(connect(From::kTransmission));
}

TEST_F(NbdReading, ZerosAreToldAsHolesAndNotSent) {
  Client& client = connect();
  client.begin();
  for (const std::uint32_t size : {512U, 65536U, 2U << 20}) {
    const Reply reply = client.ask(Command::kRead, 8000 * 512, size);
    EXPECT_EQ(reply.holes, 1U);
    EXPECT_EQ(reply.chunks, 0U);
    EXPECT_EQ(reply.data, std::string(size, '\0'));
  }
  const Reply mixed = client.ask(Command::kRead, 0, 4 << 20);  // data, zeros, one sector, zeros, data, zeros
  EXPECT_EQ(mixed.data, device_->content(0, 4 << 20));
  EXPECT_GE(mixed.holes, 2U);
  EXPECT_GE(mixed.chunks, 3U);
}

TEST_F(NbdReading, DoNotFragmentGivesOneChunkOfData) {
  Client& client = connect();
  client.begin();
  for (const std::uint32_t size : {512U, 65536U, 4U << 20}) {
    const Reply reply = client.ask(Command::kRead, 1990 * 512, size, kDf);
    EXPECT_EQ(reply.chunks, 1U);
    EXPECT_EQ(reply.holes, 0U);
    EXPECT_EQ(reply.data, device_->content(1990 * 512, size));
  }
}

TEST_F(NbdReading, BlockStatusIsTheDevicesExtentsCutToTheRequest) {
  Client& client = connect();
  client.begin();
  using Extents = std::vector<std::pair<std::uint32_t, std::uint32_t>>;
  constexpr std::uint32_t kHole = kStateHole | kStateZero;
  EXPECT_EQ(
      client.ask(Command::kBlockStatus, 0, 4 << 20).extents,
      (Extents{
          {2000 * 512, 0}, {2000 * 512, kHole}, {512, 0}, {1999 * 512, kHole}, {500 * 512, 0}, {1692 * 512, kHole}}));
  EXPECT_EQ(client.ask(Command::kBlockStatus, 100, 4 << 20, kReqOne).extents, (Extents{{2000 * 512 - 100, 0}}));
  EXPECT_EQ(client.ask(Command::kBlockStatus, 1000, 7).extents, (Extents{{7, 0}}));
}

TEST_F(NbdReading, BlockStatusOfManyExtentsIsCutToABoundedNumber) {
  for (std::size_t i = 8000; i < 16000; i += 2) device_->fill(i, i + 1);
  Client& client = connect();
  client.begin();
  EXPECT_EQ(client.ask(Command::kBlockStatus, 8000 * 512, 4 << 20).extents.size(), 2048U);
}

TEST_F(NbdReading, AReadThatMemoryCanAnswerDoesNotWaitForOneThatCannot) {
  device_->stall(100);
  Client& client = connect();
  client.begin();
  client.request(Command::kRead, 1, 100 * 512, 4096);    // small, and
  client.request(Command::kRead, 2, 96 * 512, 1 << 20);  // large: both hold the stalled sector
  std::vector<Clock::duration> times;
  for (int i = 0; i < 2000; ++i) {
    const auto begin = Clock::now();
    const std::uint32_t size = i % 10 == 0 ? 200'000 : 4096;
    ASSERT_EQ(client.ask(Command::kRead, 200 * 512, size).data, device_->content(200 * 512, size));
    times.push_back(Clock::now() - begin);
  }
  EXPECT_LT(test::calmest_p99(times), test::kSoon);
  device_->release();
  std::set<std::uint64_t> cookies;
  for (int i = 0; i < 2; ++i) {
    const Reply reply = client.reply();
    cookies.insert(reply.cookie);
    const auto offset = reply.cookie == 1 ? 100 * 512U : 96 * 512U;
    EXPECT_EQ(reply.data, device_->content(offset, reply.data.size()));
  }
  EXPECT_EQ(cookies, (std::set<std::uint64_t>{1, 2}));
}

TEST_F(NbdReading, OfALargeReadWhatIsThereComesBeforeTheRest) {
  device_->fill(0, kSectors);
  device_->stall(100);
  Client& client = connect();
  client.begin();
  client.request(Command::kRead, 1, 0, kSectors * 512);
  EXPECT_EQ(client.receive(4), be(kStructuredReplyMagic));
  EXPECT_EQ(client.receive(4), be(std::uint16_t{0}) + be(static_cast<std::uint16_t>(Chunk::kOffsetData)));
  EXPECT_EQ(client.receive(8), be(std::uint64_t{1}));
  const auto length = load_be<std::uint32_t>(as_bytes(client.receive(4)), 0);
  client.receive(length);
  EXPECT_EQ(client.ask(Command::kRead, 200 * 512, 4096).data, device_->content(200 * 512, 4096));
  device_->release();
  const Reply rest = client.reply();
  EXPECT_EQ(rest.error, Errno::kNone);
  EXPECT_GE(rest.chunks, 1U);
}

TEST_F(NbdReading, AReadOfWhichSomeWasSentMayFailAndItsMemoryIsKeptUntilThen) {
  device_->fail(2000, ErrorCode::kCorruption);
  Client& client = connect();
  client.begin();
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(client.ask(Command::kRead, 0, 1 << 20).error, Errno::kIo);
    EXPECT_EQ(client.ask(Command::kRead, 2001 * 512, 1 << 20).data, device_->content(2001 * 512, 1 << 20));
  }
  device_->stall(1999);
  client.request(Command::kRead, 1, 0, 1 << 20);  // waits, and fails; the next one does not
  client.request(Command::kRead, 2, 2001 * 512, 1 << 20);
  device_->release();
  std::set<Errno> said;
  for (int i = 0; i < 2; ++i) said.insert(client.reply().error);
  EXPECT_EQ(said, (std::set<Errno>{Errno::kNone, Errno::kIo}));
}

TEST_F(NbdReading, OtherClientsDoNotWaitEither) {
  device_->stall(100);
  Client& stalled = connect();
  stalled.begin();
  for (std::uint64_t i = 0; i < 300; ++i) stalled.request(Command::kRead, i, 100 * 512, 4096);  // more than are taken
  Client& other = connect();
  other.begin();
  EXPECT_EQ(other.ask(Command::kRead, 0, 4096).data, device_->content(0, 4096));
  device_->release();
  for (int i = 0; i < 300; ++i) EXPECT_EQ(stalled.reply().error, Errno::kNone);
}

TEST_F(NbdReading, AFailureIsThatRequestsAndIsTold) {
  device_->fail(300, ErrorCode::kCorruption);
  Client& client = connect();
  client.begin();
  EXPECT_EQ(client.ask(Command::kRead, 300 * 512, 512).error, Errno::kIo);
  EXPECT_EQ(client.ask(Command::kRead, 0, 1 << 20).error, Errno::kIo);
  EXPECT_EQ(client.ask(Command::kRead, 301 * 512, 4096).data, device_->content(301 * 512, 4096));
  EXPECT_NE(told().find("test: read of 512 bytes at 153600: made to fail"), std::string::npos) << told();
}

TEST_F(NbdReading, RequestsThatMakeNoSenseAreErrorsAndNothingElse) {
  Client& client = connect();
  client.begin();
  constexpr std::uint64_t kSize = kSectors * kSectorSize;
  const struct {
    Command command;
    std::uint64_t offset;
    std::uint32_t length;
    std::uint16_t flags;
    Errno error;
  } table[] = {
      {Command::kRead, kSize, 1, 0, Errno::kInvalid},
      {Command::kRead, kSize - 1, 2, 0, Errno::kInvalid},
      {Command::kRead, ~0ULL, 512, 0, Errno::kInvalid},
      {Command::kRead, 0, (32 << 20) + 1, 0, Errno::kInvalid},
      {Command::kRead, 0, 512, kFua, Errno::kInvalid},  // not offered: the export is read-only
      {Command::kRead, 0, 512, kReqOne, Errno::kInvalid},
      {Command::kRead, 0, 512, 0x8000, Errno::kInvalid},
      {Command::kRead, kSize, 0, 0, Errno::kNone},
      {Command::kTrim, 0, 512, 0, Errno::kPerm},
      {Command::kWriteZeroes, 0, 512, 0, Errno::kPerm},
      {Command::kFlush, 0, 0, 0, Errno::kInvalid},
      {Command::kBlockStatus, 0, 0, 0, Errno::kInvalid},
      {Command::kBlockStatus, kSize - 512, 1024, 0, Errno::kInvalid},
      {Command::kCache, kSize, 512, 0, Errno::kInvalid},
      {Command::kCache, 0, 1 << 20, 0, Errno::kNone},
      {Command{99}, 0, 512, 0, Errno::kInvalid},
      {Command{0xffff}, ~0ULL, ~0U, 0xffff, Errno::kInvalid},
  };
  for (const auto& row : table) {
    EXPECT_EQ(client.ask(row.command, row.offset, row.length, row.flags).error, row.error)
        << static_cast<int>(row.command) << " " << row.offset << " " << row.length << " " << row.flags;
  }
  EXPECT_EQ(client.ask_write(0, std::string(100'000, 'x')).error, Errno::kPerm);  // and its data is taken
  EXPECT_EQ(client.ask(Command::kRead, 0, 4096).data, device_->content(0, 4096));
}

TEST_F(NbdReading, BlockStatusAndDoNotFragmentNeedStructuredReplies) {
  Client& client = connect();
  client.begin(false);
  EXPECT_EQ(client.ask(Command::kBlockStatus, 0, 4096).error, Errno::kInvalid);
  EXPECT_EQ(client.ask(Command::kRead, 0, 4096, kDf).error, Errno::kInvalid);
  EXPECT_EQ(client.ask(Command::kRead, 0, 4096).data, device_->content(0, 4096));
}

TEST(NbdErrors, EveryKindOfFailureIsAnErrorToTheClient) {
  for (int code = 0; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    const Errno number = errno_of(static_cast<ErrorCode>(code));
    EXPECT_NE(number, Errno::kNone) << code;
    EXPECT_NE(message_of(number), "") << code;
  }
  EXPECT_EQ(errno_of(ErrorCode::kCorruption), Errno::kIo);
  EXPECT_EQ(errno_of(ErrorCode::kExhausted), Errno::kNoSpace);
  EXPECT_EQ(errno_of(ErrorCode::kCancelled), Errno::kShutdown);
}

}  // namespace
}  // namespace dadi::nbd
