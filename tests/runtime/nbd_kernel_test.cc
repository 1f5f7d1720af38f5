// Kernel nbd devices with a server of a few lines behind them. Where the kernel has no nbd these tests are skipped;
// tests/guest runs them in a virtual machine that has it.
#include <endian.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "libformat/base/endian.h"
#include "libformat/base/unique_fd.h"
#include "runtime/attach/nbd_device.h"
#include "runtime/attach/nbd_netlink.h"

namespace dadi::attach {
namespace {

using std::chrono::seconds;

constexpr std::uint64_t kSize = 64 << 20;

std::byte byte_at(std::uint64_t offset) {
  return static_cast<std::byte>(offset / 512 * 7 + offset % 251);
}

std::vector<std::byte> bytes_at(std::uint64_t offset, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = byte_at(offset + i);
  return bytes;
}

// Serves reads on one end of a pair of sockets, until it is told to stall or to die.
class Server {
 public:
  Server() {
    std::array<int, 2> ends = {};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    mine_ = UniqueFd(ends[0]);
    kernels_ = UniqueFd(ends[1]);
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() { die(); }

  int kernels_end() const { return kernels_.get(); }
  void close_kernels_end() { kernels_ = UniqueFd(); }

  void stall() { stalled_ = true; }
  std::size_t asked() const { return asked_; }
  bool told_goodbye() const { return goodbye_; }
  bool ended() const { return ended_; }
  void die() {
    if (!thread_.joinable()) return;
    ::shutdown(mine_.get(), SHUT_RDWR);
    thread_.join();
    mine_ = UniqueFd();
  }

 private:
  void serve() {
    std::array<std::byte, 28> request = {};
    while (::recv(mine_.get(), request.data(), request.size(), MSG_WAITALL) == ssize_t{request.size()}) {
      const auto command = std::to_integer<int>(request[7]);
      const std::uint64_t offset = be64toh(load_le<std::uint64_t>(request, 16));
      const std::uint32_t size = be32toh(load_le<std::uint32_t>(request, 24));
      if (command == 2) {
        goodbye_ = true;
        break;
      }
      ++asked_;
      if (stalled_) continue;
      std::vector<std::byte> reply(16);
      store_le(std::span(reply), 0, htobe32(0x67446698));
      std::copy_n(request.begin() + 8, 8, reply.begin() + 8);
      const auto data = bytes_at(offset, size);
      reply.insert(reply.end(), data.begin(), data.end());
      if (::send(mine_.get(), reply.data(), reply.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(reply.size())) break;
    }
    ended_ = true;
  }

  UniqueFd mine_;
  UniqueFd kernels_;
  std::atomic<bool> stalled_ = false;
  std::atomic<std::size_t> asked_ = 0;
  std::atomic<bool> goodbye_ = false;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

template <typename Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 3000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return condition();
}

std::vector<int> kernels_ends(const std::vector<std::unique_ptr<Server>>& servers) {
  std::vector<int> sockets;
  for (const auto& server : servers) sockets.push_back(server->kernels_end());
  return sockets;
}

class NbdKernel : public ::testing::Test {
 protected:
  void SetUp() override {
    auto nbd = NbdNetlink::open();
    if (!nbd) GTEST_SKIP() << nbd.error().message();
    nbd_ = std::make_unique<NbdNetlink>(std::move(*nbd));
    settings_.size = {kSize};
    settings_.timeout = seconds(2);
    settings_.dead_connection_timeout = seconds(30);
    settings_.identifier = "dadi test";
  }
  void TearDown() override {
    if (index_) std::ignore = nbd_->disconnect(*index_).has_value();
  }

  std::vector<std::unique_ptr<Server>> start(int count) {
    std::vector<std::unique_ptr<Server>> servers;
    for (int i = 0; i < count; ++i) servers.push_back(std::make_unique<Server>());
    return servers;
  }
  std::vector<std::unique_ptr<Server>> connect(int count) {
    auto servers = start(count);
    const auto index = nbd_->connect(settings_, kernels_ends(servers), std::nullopt);
    EXPECT_TRUE(index) << index.error().message();
    if (index) index_ = *index;
    for (const auto& server : servers) server->close_kernels_end();
    return servers;
  }

  UniqueFd open_device(int flags = O_RDONLY | O_DIRECT) {
    return UniqueFd(::open(nbd_device_path(*index_).c_str(), flags | O_CLOEXEC));
  }
  // Whether the device holds what its server says, from `offset` on.
  ::testing::AssertionResult reads(int file, std::uint64_t offset, std::size_t size = 4096) {
    const std::unique_ptr<std::byte, decltype(&std::free)> memory(
        static_cast<std::byte*>(std::aligned_alloc(4096, size)), &std::free);
    const ssize_t got = ::pread(file, memory.get(), size, static_cast<off_t>(offset));
    if (got != static_cast<ssize_t>(size)) return ::testing::AssertionFailure() << got << " bytes, errno " << errno;
    if (!std::ranges::equal(std::span(memory.get(), size), bytes_at(offset, size))) {
      return ::testing::AssertionFailure() << "other bytes at " << offset;
    }
    return ::testing::AssertionSuccess();
  }

  std::unique_ptr<NbdNetlink> nbd_;
  NbdDeviceSettings settings_;
  std::optional<std::uint32_t> index_;
};

TEST_F(NbdKernel, ADeviceReadsWhatItsServersSay) {
  const auto servers = connect(3);
  ASSERT_TRUE(index_);
  tune_nbd_device(*index_);
  const UniqueFd file = open_device();
  ASSERT_TRUE(file);
  std::uint64_t size = 0;
  EXPECT_EQ(::ioctl(file.get(), BLKGETSIZE64, &size), 0);
  EXPECT_EQ(size, kSize);
  int read_only = 0;
  EXPECT_EQ(::ioctl(file.get(), BLKROGET, &read_only), 0);
  EXPECT_EQ(read_only, 1);
  EXPECT_TRUE(reads(file.get(), 0));
  EXPECT_TRUE(reads(file.get(), 512, 512));
  EXPECT_TRUE(reads(file.get(), 1 << 20, 1 << 20));
  EXPECT_TRUE(reads(file.get(), kSize - 4096));

  EXPECT_TRUE(nbd_->connected(*index_).value());
  EXPECT_TRUE(nbd_device_state(*index_).set_up);
  EXPECT_EQ(nbd_device_state(*index_).identifier, "dadi test");
}

TEST_F(NbdKernel, DisconnectingTellsTheServersAndLeavesTheDeviceFree) {
  const auto servers = connect(2);
  ASSERT_TRUE(index_);
  ASSERT_TRUE(nbd_->disconnect(*index_));
  EXPECT_TRUE(eventually([&] { return servers[0]->told_goodbye() && servers[1]->told_goodbye(); }));
  EXPECT_TRUE(eventually([&] { return !nbd_device_state(*index_).set_up; }));
  const auto again = start(1);
  const auto index = nbd_->connect(settings_, kernels_ends(again), *index_);
  EXPECT_TRUE(index) << index.error().message();
}

TEST_F(NbdKernel, ADeviceInUseIsNotSetUpAgain) {
  const auto servers = connect(1);
  ASSERT_TRUE(index_);
  const auto others = start(1);
  const auto refused = nbd_->connect(settings_, kernels_ends(others), *index_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy) << refused.error().message();
  const auto free = nbd_->connect(settings_, kernels_ends(others), std::nullopt);
  ASSERT_TRUE(free) << free.error().message();
  EXPECT_NE(*free, *index_);
  EXPECT_TRUE(nbd_->disconnect(*free));
}

TEST_F(NbdKernel, AHeldDeviceIsSeenToBeHeld) {
  const auto servers = connect(1);
  ASSERT_TRUE(index_);
  EXPECT_TRUE(check_not_held(nbd_device_path(*index_)));
  const UniqueFd holder = open_device(O_RDONLY | O_EXCL);
  ASSERT_TRUE(holder);
  const auto held = check_not_held(nbd_device_path(*index_));
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code(), ErrorCode::kBusy);
}

TEST_F(NbdKernel, AReadThatIsInFlightWhenItsServerDiesIsAnsweredByTheNext) {
  const auto servers = connect(2);
  ASSERT_TRUE(index_);
  for (const auto& server : servers) server->stall();
  auto read = std::async(std::launch::async, [&] {
    const UniqueFd file = open_device();
    return reads(file.get(), 3 << 20, 64 << 10);
  });
  ASSERT_TRUE(eventually([&] { return servers[0]->asked() + servers[1]->asked() > 0; }));
  for (const auto& server : servers) server->die();

  const auto next = start(2);
  ASSERT_TRUE(eventually([&] {  // the kernel takes a moment to see that both are dead
    if (!nbd_->reconnect(*index_, settings_, kernels_ends(next))) return false;
    return next[0]->asked() + next[1]->asked() > 0 || read.wait_for(seconds(0)) == std::future_status::ready;
  }));
  EXPECT_TRUE(read.get());
}

TEST_F(NbdKernel, AReadThatFindsNoServerWaitsForOne) {
  auto servers = connect(1);
  ASSERT_TRUE(index_);
  const UniqueFd file = open_device();
  ASSERT_TRUE(reads(file.get(), 0));
  servers[0]->die();
  auto read = std::async(std::launch::async, [&] { return reads(file.get(), 5 << 20); });
  EXPECT_EQ(read.wait_for(std::chrono::milliseconds(500)), std::future_status::timeout);
  const auto next = start(1);
  ASSERT_TRUE(nbd_->reconnect(*index_, settings_, kernels_ends(next)));
  EXPECT_TRUE(read.get());
}

TEST_F(NbdKernel, AReadThatFindsNoServerFailsInTheEndAndALaterServerIsTakenStill) {
  settings_.dead_connection_timeout = seconds(1);
  auto servers = connect(1);
  ASSERT_TRUE(index_);
  const UniqueFd file = open_device();
  servers[0]->die();
  EXPECT_FALSE(reads(file.get(), 5 << 20));
  const auto next = start(1);
  ASSERT_TRUE(nbd_->reconnect(*index_, settings_, kernels_ends(next)));
  EXPECT_TRUE(reads(file.get(), 6 << 20));
}

TEST_F(NbdKernel, SocketsForWhichNoConnectionIsDeadAreLetGo) {
  const auto servers = connect(1);
  ASSERT_TRUE(index_);
  const auto extra = start(1);
  ASSERT_TRUE(nbd_->reconnect(*index_, settings_, kernels_ends(extra)));
  extra[0]->close_kernels_end();
  EXPECT_TRUE(eventually([&] { return extra[0]->ended(); }));
}

TEST_F(NbdKernel, ADeviceOfAnotherIdentifierOrOfNobodyIsNotTaken) {
  const auto servers = connect(1);
  ASSERT_TRUE(index_);
  const auto others = start(1);
  settings_.identifier = "somebody else";
  for (const std::uint32_t index : {*index_, *index_ + 1, 4000U}) {
    const auto refused = nbd_->reconnect(index, settings_, kernels_ends(others));
    ASSERT_FALSE(refused) << index;
    EXPECT_EQ(refused.error().code(), ErrorCode::kNotFound) << refused.error().message();
  }
}

TEST_F(NbdKernel, ADeviceThatIsLetGoEndsWhenItIsClosed) {
  const auto servers = connect(1);
  ASSERT_TRUE(index_);
  {
    const UniqueFd file = open_device();
    ASSERT_TRUE(nbd_->set_end(*index_, settings_.identifier, {.on_close = true}));
    EXPECT_TRUE(reads(file.get(), 1 << 20));
    EXPECT_TRUE(nbd_device_state(*index_).set_up);
  }
  EXPECT_TRUE(eventually([&] { return servers[0]->told_goodbye() && !nbd_device_state(*index_).set_up; }));
}

TEST_F(NbdKernel, ADeviceThatWasMadeOnDemandGoesWhenItEnds) {
  std::vector<std::vector<std::unique_ptr<Server>>> servers;
  std::vector<std::uint32_t> indexes;
  do {
    servers.push_back(connect(1));
    ASSERT_TRUE(index_);
    indexes.push_back(*index_);
  } while (!nbd_device_is_extra(*index_) && indexes.size() < 64);
  ASSERT_TRUE(nbd_device_is_extra(*index_));
  const std::string path = nbd_device_path(*index_);
  EXPECT_TRUE(reads(open_device().get(), 1 << 20));
  EXPECT_TRUE(nbd_->set_end(*index_, settings_.identifier, {.destroyed = true}));
  for (const std::uint32_t index : indexes) EXPECT_TRUE(nbd_->disconnect(index));
  EXPECT_TRUE(eventually([&] { return ::access(path.c_str(), F_OK) != 0; }));
  index_.reset();
}

TEST_F(NbdKernel, SettingsThatMakeNoSenseAreRefused) {
  const auto servers = start(1);
  settings_.block_size = {1000};
  const auto refused = nbd_->connect(settings_, kernels_ends(servers), std::nullopt);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument) << refused.error().message();
}

}  // namespace
}  // namespace dadi::attach
