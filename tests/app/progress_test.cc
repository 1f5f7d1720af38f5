#include "apps/dadi/progress.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "libformat/base/unique_fd.h"

namespace dadi {
namespace {

// What is written to a file descriptor.
class Captured {
 public:
  int fd() const { return file_.get(); }
  std::string text() const {
    std::string all(static_cast<std::size_t>(lseek(file_.get(), 0, SEEK_END)), '\0');
    EXPECT_EQ(pread(file_.get(), all.data(), all.size(), 0), static_cast<ssize_t>(all.size()));
    return all;
  }

 private:
  UniqueFd file_{memfd_create("progress", 0)};
};

TEST(Progress, JsonEventsAreOneObjectALineAndEndWithDone) {
  const Captured captured;
  {
    Progress progress(ProgressMode::kJson, captured.fd(), false);
    const auto task = progress.start("layer \xff\n1", {1000});
    task->advance({400});
    task->advance({600});
    task->finish();
    progress.stop();
  }
  std::istringstream lines(captured.text());
  nlohmann::json last;
  for (std::string line; std::getline(lines, line);) last = nlohmann::json::parse(line);
  EXPECT_EQ(last.at("event"), "done");
  EXPECT_EQ(last.at("bytes"), 1000);
  EXPECT_EQ(last.at("total"), 1000);
}

TEST(Progress, PlainModeSaysOnceThatATaskIsDoneAndNeverMovesTheCursor) {
  const Captured captured;
  Progress progress(ProgressMode::kPlain, captured.fd(), true);
  const auto task = progress.start("layer 1", {2048});
  task->advance({2048});
  task->finish();
  progress.stop();
  const std::string text = captured.text();
  EXPECT_TRUE(text.starts_with("layer 1: 2 KiB  ")) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
}

TEST(Progress, NoneWritesLinesButNoProgress) {
  const Captured captured;
  Progress progress(ProgressMode::kNone, captured.fd(), false);
  progress.start("layer", {1})->finish();
  progress.line("note: hello");
  progress.stop();
  EXPECT_EQ(captured.text(), "note: hello\n");
}

TEST(Progress, LinesOnATerminalStandAboveTheBars) {
  const Captured captured;
  Progress progress(ProgressMode::kTty, captured.fd(), false);
  const auto task = progress.start("layer 1", {100});
  progress.line("first");
  progress.line("second");
  progress.stop();
  const std::string text = captured.text();
  // A bar is drawn after each line, and taken away before the next.
  EXPECT_LT(text.find("first\n"), text.find("\x1b[1A\x1b[J"));
  EXPECT_LT(text.find("\x1b[1A\x1b[J"), text.find("second\n"));
  EXPECT_TRUE(text.ends_with("\x1b[1A\x1b[J")) << "an unfinished bar must not stay";
}

TEST(Progress, ManyThreadsCountWithoutLoss) {
  const Captured captured;
  Progress progress(ProgressMode::kJson, captured.fd(), false);
  const auto task = progress.start("all", {4 * 10000});
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 10000; ++n) task->advance({1});
      });
    }
  }
  task->finish();
  progress.stop();
  EXPECT_NE(captured.text().find("\"event\":\"done\",\"task\":\"all\",\"bytes\":40000"), std::string::npos);
}

}  // namespace
}  // namespace dadi
