#include "apps/dadi/idle_reads.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "runtime/attach/control.h"
#include "runtime/attach/line_server.h"

namespace dadi {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// Says of reads what a dadid would.
class ReadsServer : public ::testing::Test {
 protected:
  ReadsServer() : wake_(::eventfd(0, EFD_CLOEXEC)) {
    std::string name = (std::filesystem::temp_directory_path() / "dadi-idle-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    auto socket = attach::listen_on(socket_path());
    EXPECT_TRUE(socket);
    server_.listen(
        std::move(*socket), attach::line_handler([this](std::string_view) {
          ++asked_;
          return attach::Json{{"reads", reads_.load()}, {"errors", 0U}, {"under_way", under_way_.load()}}.dump();
        }));
    thread_ = std::jthread([this] { EXPECT_TRUE(server_.run(wake_.get())); });
  }
  ~ReadsServer() override {
    EXPECT_EQ(::eventfd_write(wake_.get(), 1), 0);
    thread_.join();
    std::filesystem::remove_all(folder_);
  }
  std::filesystem::path socket_path() const { return folder_ / "control"; }

  // How long it takes until nothing is read any more; at most `most`, and then none.
  static std::optional<Clock::duration> wait_for(IdleReads& idle, Clock::duration most) {
    for (const auto begin = Clock::now(); Clock::now() - begin < most; std::this_thread::sleep_for(10ms)) {
      const auto holds = idle.hold();
      EXPECT_TRUE(holds);
      if (!holds || *holds) return Clock::now() - begin;
    }
    return std::nullopt;
  }

  std::filesystem::path folder_;
  std::atomic<unsigned> reads_ = 7;
  std::atomic<unsigned> under_way_ = 0;
  std::atomic<unsigned> asked_ = 0;
  UniqueFd wake_;
  attach::LineServer server_;
  std::jthread thread_;
};

TEST_F(ReadsServer, IsNotIdleBeforeAnythingIsRead) {
  auto idle = IdleReads::watch(socket_path(), 1s);
  ASSERT_TRUE(idle);
  EXPECT_FALSE(wait_for(*idle, 2s));
  EXPECT_LE(asked_, 11U) << "it asks five times a second";
  ++reads_;
  const auto time = wait_for(*idle, 20s);
  ASSERT_TRUE(time);
  EXPECT_GE(*time, 1s);
}

TEST_F(ReadsServer, IsNotIdleWhileAReadWaits) {
  auto idle = IdleReads::watch(socket_path(), 1s);
  ASSERT_TRUE(idle);
  ++under_way_;
  EXPECT_FALSE(wait_for(*idle, 2s));
  --under_way_;
  EXPECT_TRUE(wait_for(*idle, 20s));
}

}  // namespace
}  // namespace dadi
