// What a successor of a dadid that died is told of its writes.
#include "runtime/attach/write_ledger.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <filesystem>
#include <functional>

namespace dadi::attach {
namespace {

// Takes everything, or nothing; does something of the test's during a flush.
class Writer final : public BlockWriter {
 public:
  Result<void> write_at(Sectors, std::span<const std::byte>) override { return result(); }
  Result<void> write_zeroes(Sectors, Sectors) override { return result(); }
  Result<void> discard(Sectors, Sectors) override { return result(); }
  Result<void> flush() override {
    if (during_flush) during_flush();
    return result();
  }

  bool fails = false;
  std::function<void()> during_flush;

 private:
  Result<void> result() const { return fails ? Result<void>(Error::io("broken")) : Result<void>(); }
};

class WriteLedgerTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(folder_.data()), nullptr); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::shared_ptr<WriteLedger> open() { return WriteLedger::open(folder_ + "/writes", writer_).value(); }
  // As one that is opened after the process of another died.
  bool settled_for_a_successor() { return open()->settled(); }

  const std::array<std::byte, 512> sector_{};
  std::shared_ptr<Writer> writer_ = std::make_shared<Writer>();

 private:
  std::string folder_ = ::testing::TempDir() + "write-ledger-XXXXXX";
};

TEST_F(WriteLedgerTest, WhatWasConfirmedIsMissingUntilItIsFlushed) {
  const auto ledger = open();
  EXPECT_TRUE(settled_for_a_successor());
  const std::array<std::function<Result<void>()>, 3> changes = {[&] { return ledger->write_at({1}, sector_); },
                                                                [&] { return ledger->write_zeroes({1}, {1}); },
                                                                [&] { return ledger->discard({1}, {1}); }};
  for (const auto& change : changes) {
    EXPECT_TRUE(change());
    EXPECT_FALSE(settled_for_a_successor());
    EXPECT_TRUE(ledger->flush());
    EXPECT_TRUE(settled_for_a_successor());
  }
}

TEST_F(WriteLedgerTest, AFlushCoversWhatWasConfirmedBeforeItBeganAlone) {
  const auto ledger = open();
  EXPECT_TRUE(ledger->write_at({1}, sector_));
  writer_->during_flush = [&] { EXPECT_TRUE(ledger->write_at({2}, sector_)); };
  EXPECT_TRUE(ledger->flush());
  EXPECT_FALSE(settled_for_a_successor());
  writer_->during_flush = nullptr;
  EXPECT_TRUE(ledger->flush());
  EXPECT_TRUE(settled_for_a_successor());
}

TEST_F(WriteLedgerTest, AFlushThatFailsSettlesNothingAndAWriteThatFailsIsNotMissed) {
  const auto ledger = open();
  writer_->fails = true;
  EXPECT_FALSE(ledger->write_at({1}, sector_));
  EXPECT_TRUE(settled_for_a_successor());
  writer_->fails = false;
  EXPECT_TRUE(ledger->write_at({1}, sector_));
  writer_->fails = true;
  EXPECT_FALSE(ledger->flush());
  EXPECT_FALSE(settled_for_a_successor());
}

TEST_F(WriteLedgerTest, ASuccessorStartsAnew) {
  EXPECT_TRUE(open()->write_at({1}, sector_));
  const auto successor = open();
  EXPECT_FALSE(successor->settled());
  successor->settle();
  EXPECT_TRUE(successor->write_at({1}, sector_));
  EXPECT_FALSE(settled_for_a_successor());
  EXPECT_TRUE(successor->flush());
  EXPECT_TRUE(settled_for_a_successor());
}

}  // namespace
}  // namespace dadi::attach
