// The backend `nbd`, on a device in memory. Skipped where the kernel has no nbd; tests/guest runs it where it has.
#include "runtime/attach/kernel_nbd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "libformat/base/unique_fd.h"

namespace dadi::attach {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kSize = 64 << 20;
constexpr std::uint64_t kStuck = 32 << 20;  // where reads wait while the device is stuck

std::byte byte_at(std::uint64_t offset) {
  return static_cast<std::byte>(offset / 512 * 7 + offset % 251);
}

// Answers from memory, or in threads that may wait, as an image does; some reads wait until they are let go.
class Device final : public BlockReader {
 public:
  Sectors size() const override { return {kSize / kSectorSize}; }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override {
    const std::uint64_t offset = to_bytes(at).value;
    if (context.memory_only && (offset / 4096) % 2 == 1) return Error::would_block("not in memory");
    if (offset >= kStuck && offset < kStuck + (1 << 20)) {
      if (context.memory_only) return Error::would_block("not in memory");
      std::unique_lock lock(mutex_);
      ++waiting_;
      wake_.wait(lock, [&] { return !stuck_; });
      --waiting_;
    }
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = byte_at(offset + i);
    return {};
  }
  Result<Extent> next_extent(Sectors at) const override { return Extent{Extent::Kind::kData, size() - at}; }

  void stick(bool stuck) {
    {
      const std::scoped_lock lock(mutex_);
      stuck_ = stuck;
    }
    wake_.notify_all();
  }
  int waiting() const {
    const std::scoped_lock lock(mutex_);
    return waiting_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable wake_;
  mutable int waiting_ = 0;
  bool stuck_ = false;
};

template <typename Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 3000 && !condition(); ++i) std::this_thread::sleep_for(milliseconds(10));
  return condition();
}

UniqueFd open_device(const HostDevice& device, int flags = O_RDONLY | O_DIRECT) {
  return UniqueFd(::open(device.path().c_str(), flags | O_CLOEXEC));
}

::testing::AssertionResult reads(int file, std::uint64_t offset, std::size_t size = 4096) {
  const std::unique_ptr<std::byte, decltype(&std::free)> memory(static_cast<std::byte*>(std::aligned_alloc(4096, size)),
                                                                &std::free);
  const ssize_t got = ::pread(file, memory.get(), size, static_cast<off_t>(offset));
  if (got != static_cast<ssize_t>(size)) return ::testing::AssertionFailure() << got << " bytes, errno " << errno;
  for (std::size_t i = 0; i < size; ++i) {
    if (memory.get()[i] != byte_at(offset + i))
      return ::testing::AssertionFailure() << "another byte at " << offset + i;
  }
  return ::testing::AssertionSuccess();
}

// Threads that read all the time, until they are asked how it was.
class Readers {
 public:
  explicit Readers(const HostDevice& device) {
    for (unsigned seed = 0; seed < 3; ++seed) {
      threads_.emplace_back([this, seed, file = open_device(device)] {
        for (std::uint64_t i = seed; !ending_; i = i * 7 + 5) {
          if (!reads(file.get(), i % (kStuck / 65536) * 65536, 65536)) ++bad_;
          ++reads_;
        }
      });
    }
  }
  ~Readers() {
    ending_ = true;
    threads_.clear();
  }
  int count() const { return reads_; }
  bool go_on() {
    const int before = reads_;
    return eventually([&] { return reads_ > before + 10; });
  }
  int bad() const { return bad_; }

 private:
  std::atomic<bool> ending_ = false;
  std::atomic<int> reads_ = 0;
  std::atomic<int> bad_ = 0;
  std::vector<std::jthread> threads_;
};

class KernelNbd : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto able = probe_kernel_nbd(); !able) GTEST_SKIP() << able.error().message();
  }
  void TearDown() override {
    device_->stick(false);
    if (host_) std::ignore = host_->remove().has_value();
  }

  std::unique_ptr<HostDevice> create(Json previous = nullptr) {
    auto host = create_kernel_nbd(
        {.device = device_,
         .label = "dadi-test",
         .previous = std::move(previous),
         .log =
             [](std::string_view text) { std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data()); },
         .timeout = seconds(2),
         .successor_timeout = seconds(60)});
    EXPECT_TRUE(host) << host.error().message();
    return host ? std::move(*host) : nullptr;
  }

  const std::shared_ptr<Device> device_ = std::make_shared<Device>();
  std::unique_ptr<HostDevice> host_;
};

TEST_F(KernelNbd, ADeviceIsReadAndRemoved) {
  host_ = create();
  ASSERT_TRUE(host_);
  {
    const UniqueFd file = open_device(*host_);
    EXPECT_TRUE(reads(file.get(), 0));
    EXPECT_TRUE(reads(file.get(), 1 << 20, 1 << 20));
  }
  EXPECT_TRUE(host_->remove());
  EXPECT_FALSE(reads(open_device(*host_).get(), 0));
}

TEST_F(KernelNbd, ADeviceThatIsHeldIsNotRemovedAndGoesOn) {
  host_ = create();
  ASSERT_TRUE(host_);
  const UniqueFd holder = open_device(*host_, O_RDONLY | O_EXCL | O_DIRECT);
  const auto refused = host_->remove();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kBusy);
  EXPECT_TRUE(reads(holder.get(), 5 << 20));
}

TEST_F(KernelNbd, ADeviceThatIsToGoLaterGoesWhenItIsClosed) {
  host_ = create();
  ASSERT_TRUE(host_);
  std::atomic<int> gone = 0;
  {
    const UniqueFd holder = open_device(*host_);
    host_->remove_later([&] { ++gone; });
    EXPECT_TRUE(reads(holder.get(), 5 << 20));
    EXPECT_EQ(gone, 0);
  }
  EXPECT_TRUE(eventually([&] { return gone == 1; }));
  host_.reset();
}

TEST_F(KernelNbd, ADeviceThatNobodyHasOpenGoesLaterAtOnce) {
  host_ = create();
  ASSERT_TRUE(host_);
  std::atomic<int> gone = 0;
  host_->remove_later([&] { ++gone; });
  EXPECT_TRUE(eventually([&] { return gone == 1; }));
  host_.reset();
}

TEST_F(KernelNbd, ReadsGoOnOverAPauseWithoutAnError) {
  host_ = create();
  ASSERT_TRUE(host_);
  Readers readers(*host_);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(readers.go_on());
    ASSERT_TRUE(host_->pause());
    host_->go_on();
  }
  EXPECT_TRUE(readers.go_on());
  EXPECT_EQ(readers.bad(), 0);
}

TEST_F(KernelNbd, ReadsGoOnWithASuccessorThatIsHandedTheSockets) {
  host_ = create();
  ASSERT_TRUE(host_);
  Readers readers(*host_);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(readers.go_on());
    auto state = host_->pause();
    ASSERT_TRUE(state);
    for (auto& socket : (*state)["sockets"]) socket["fd"] = ::dup(socket["fd"].get<int>());  // as exec would keep it
    host_.reset();
    host_ = create(Json::parse(state->dump()));
    ASSERT_TRUE(host_);
  }
  EXPECT_TRUE(readers.go_on());
  EXPECT_EQ(readers.bad(), 0);
}

TEST_F(KernelNbd, ReadsGoOnWithASuccessorThatTakesTheDeviceOver) {
  host_ = create();
  ASSERT_TRUE(host_);
  Readers readers(*host_);
  ASSERT_TRUE(readers.go_on());
  const Json state = Json::parse(host_->state().dump());
  host_.reset();  // closes its sockets without a word
  const int before = readers.count();
  std::this_thread::sleep_for(milliseconds(300));
  EXPECT_LE(readers.count(), before + 3) << "nobody answers";
  host_ = create(state);
  ASSERT_TRUE(host_);
  EXPECT_TRUE(readers.go_on());
  EXPECT_EQ(readers.bad(), 0);
}

TEST_F(KernelNbd, AReadThatTakesTooLongIsAskedAgainAndItsConnectionReplaced) {
  host_ = create();
  ASSERT_TRUE(host_);
  Readers readers(*host_);
  device_->stick(true);
  auto stuck = std::async(std::launch::async, [&] { return reads(open_device(*host_).get(), kStuck); });
  EXPECT_TRUE(eventually([&] { return device_->waiting() >= 3; })) << "asked three times";
  EXPECT_TRUE(readers.go_on());
  device_->stick(false);
  EXPECT_TRUE(stuck.get());
  EXPECT_TRUE(readers.go_on());
  EXPECT_EQ(readers.bad(), 0);
}

TEST_F(KernelNbd, APauseDoesNotWaitForAReadThatIsStuck) {
  host_ = create();
  ASSERT_TRUE(host_);
  device_->stick(true);
  auto stuck = std::async(std::launch::async, [&] { return reads(open_device(*host_).get(), kStuck); });
  ASSERT_TRUE(eventually([&] { return device_->waiting() > 0; }));
  ASSERT_TRUE(host_->pause());
  device_->stick(false);
  host_->go_on();
  EXPECT_TRUE(stuck.get());
}

TEST_F(KernelNbd, ASuccessorIsRefusedADeviceThatIsGone) {
  host_ = create();
  ASSERT_TRUE(host_);
  const Json state = Json::parse(host_->state().dump());
  ASSERT_TRUE(host_->remove());
  host_.reset();
  const auto none = create_kernel_nbd({.device = device_, .label = "dadi-test", .previous = state, .log = {}});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), ErrorCode::kNotFound);
  EXPECT_TRUE(clean_up_kernel_nbd(state)) << "nothing to do";
}

TEST_F(KernelNbd, WhatADeadProcessLeftIsCleanedUpUnlessItIsHeld) {
  host_ = create();
  ASSERT_TRUE(host_);
  const std::string path = host_->path();
  UniqueFd holder = open_device(*host_, O_RDONLY | O_EXCL);
  const Json state = Json::parse(host_->state().dump());
  host_.reset();
  const auto busy = clean_up_kernel_nbd(state);
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().code(), ErrorCode::kBusy);
  holder = UniqueFd();
  EXPECT_TRUE(eventually([&] { return clean_up_kernel_nbd(state).has_value(); }));
}

TEST(KernelNbdState, WhatIsNoStateIsRefused) {
  for (const char* text : {"null", "[]", "{}", R"({"index":-1})", R"({"index":"0","connections":1})",
                           R"({"index":0,"connections":1,"identifier":"x","size":1,"timeout":1})",
                           R"({"index":0,"connections":1,"identifier":"x","size":1,"timeout":1,
                               "dead_connection_timeout":1,"sockets":[{"fd":99999,"unparsed":""}]})"}) {
    const auto result = clean_up_kernel_nbd(Json::parse(text));
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code(), ErrorCode::kCorruption) << text;
  }
}

}  // namespace
}  // namespace dadi::attach
