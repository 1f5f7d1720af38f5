// A blob read through the cache has the blob's bytes, whatever happens to the cache.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "runtime/cache/cached_blob.h"
#include "tests/format/test_support.h"
#include "tests/runtime/faulty_blob.h"

namespace dadi::cache {
namespace {

using std::chrono::milliseconds;
using test::Data;
using test::expect_error;
using test::FaultyBlob;
using test::must;
using test::Random;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kChunk = 64U << 10;

bool is_long() {
  return std::getenv("DADI_LONG") != nullptr;
}

Data some_bytes(Random& random, std::size_t size) {
  Data data(size);
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(data.data() + i, &word, std::min<std::size_t>(8, size - i));
  }
  return data;
}

ReadContext until(Clock::time_point deadline) {
  ReadContext context;
  context.deadline = deadline;
  return context;
}
ReadContext from_memory() {
  ReadContext context;
  context.memory_only = true;
  return context;
}
ReadContext prefetch() {
  ReadContext context;
  context.read_class = ReadClass::kPrefetch;
  return context;
}

class DiskCacheTest : public testing::Test {
 protected:
  DiskCacheOptions options() const {
    return {.folder = folder_.path() / "cache", .chunk = {kChunk}, .reach = {kChunk}};
  }
  std::shared_ptr<DiskCache> cache() const { return std::make_shared<DiskCache>(options()); }
  static SharedBlob through(const std::shared_ptr<DiskCache>& cache, const Data& data, SharedBlob below) {
    return CachedBlob::open(cache, Digest::of(data), {data.size()}, std::move(below));
  }
  std::filesystem::path file_of(const Data& data, const std::string& ending) const {
    return folder_.path() / "cache" / (Digest::of(data).hex() + ending);
  }
  // Reads all of it in pieces of odd sizes.
  static void expect_same(const BlobReader& blob, const Data& data) {
    Random random(7);
    for (std::size_t at = 0; at < data.size();) {
      const std::size_t size = std::min<std::size_t>(data.size() - at, 1 + random() % 200'000);
      Data out(size);
      must(blob.read_at({at}, out));
      ASSERT_TRUE(std::equal(out.begin(), out.end(), data.begin() + static_cast<std::ptrdiff_t>(at))) << at;
      at += size;
    }
  }

  Random random_{1};
  test::TemporaryFolder folder_;
  Data data_ = some_bytes(random_, 2'500'000);
};

TEST_F(DiskCacheTest, FetchesOnceAndAnswersFromDiskAfterwards) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  expect_same(*through(cache(), data_, below), data_);
  const int reads = below->reads();
  EXPECT_LE(reads, 39);
  const auto again = cache();
  expect_same(*through(again, data_, below), data_);
  EXPECT_EQ(below->reads(), reads);
  EXPECT_EQ(again->stats().misses, 0U);
  EXPECT_EQ(again->stats().read.value, data_.size());
}

TEST_F(DiskCacheTest, JoinsNeighboursUpToABound) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  const auto used = cache();
  Data all(data_.size());
  must(through(used, data_, below)->read_at({0}, all, prefetch()));
  EXPECT_EQ(all, data_);
  EXPECT_EQ(below->reads(), 3);  // of a MiB
  EXPECT_EQ(used->stats().fetched.value, data_.size());
}

TEST_F(DiskCacheTest, WhatSomebodyWaitsForComesInSmallerPiecesSideBySide) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  const auto blob = through(cache(), data_, below);
  below->stall(true);
  std::thread reader([&] { EXPECT_EQ(test::all_of(*blob), data_); });
  below->await_readers(20);  // of 128 KiB
  below->stall(false);
  reader.join();
  EXPECT_EQ(below->reads(), 20);
}

TEST_F(DiskCacheTest, ADemandReadBringsWhatFollowsUpToAnAlignedPiecesEndAndAnExactOneDoesNot) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  auto reaching = options();
  reaching.reach = {4 * kChunk};
  const auto used = std::make_shared<DiskCache>(reaching);
  const auto cached = std::static_pointer_cast<const CachedBlob>(through(used, data_, below));
  const BlobReader& blob = *cached;
  const auto fetched = [&] {
    cached->flush();
    return used->stats().fetched.value / kChunk;
  };
  Data out(10);
  ReadContext exact;
  exact.exact = true;
  must(blob.read_at({6 * kChunk}, out, exact));
  EXPECT_EQ(fetched(), 1U);
  must(blob.read_at({4 * kChunk + 17}, out));  // and what lies before that which is there
  EXPECT_EQ(fetched(), 3U);
  must(blob.read_at({9 * kChunk}, out, prefetch()));
  EXPECT_EQ(fetched(), 4U);
  must(blob.read_at({10 * kChunk}, out));  // and the last of the piece; what is in front is left out
  EXPECT_EQ(fetched(), 6U);
  const int reads = below->reads();
  EXPECT_EQ(reads, 4);
  must(blob.read_at({11 * kChunk}, out));
  EXPECT_EQ(below->reads(), reads);
  expect_same(blob, data_);
}

TEST_F(DiskCacheTest, ADemandReadDoesNotWaitForWhatFollows) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  auto reaching = options();
  reaching.reach = {4 * kChunk};
  const auto blob = through(std::make_shared<DiskCache>(reaching), data_, below);
  below->stall(true, {5 * kChunk});
  Data out(10);
  must(blob->read_at({4 * kChunk}, out, until(Clock::now() + std::chrono::seconds(10))));
  EXPECT_TRUE(std::equal(out.begin(), out.end(), data_.begin() + 4 * kChunk));
  must(blob->read_at({4 * kChunk + 100}, out, until(Clock::now())));  // that it has arrived is enough
  below->await_readers(1);
  below->stall(false);
  must(blob->read_at({7 * kChunk}, out));
  EXPECT_EQ(below->reads(), 1);
  expect_same(*blob, data_);
}

TEST_F(DiskCacheTest, OfAFetchThatFailsHalfwayWhatArrivedWasRead) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  auto reaching = options();
  reaching.reach = {4 * kChunk};
  reaching.fetch_time = std::chrono::seconds(1);
  const auto blob = through(std::make_shared<DiskCache>(reaching), data_, below);
  below->stall(true, {6 * kChunk});
  Data out(10);
  must(blob->read_at({5 * kChunk}, out));
  EXPECT_FALSE(blob->read_at({6 * kChunk}, out));  // the fetch fails by itself
  below->stall(false);
  expect_same(*blob, data_);
}

// A folder that hosts share lies in between: its reader has the front as soon as that has it.
TEST_F(DiskCacheTest, WhatArrivesIsHandedOnThroughATier) {
  const auto source = std::make_shared<FaultyBlob>(data_);
  auto far = options();
  far.folder = folder_.path() / "tier";
  far.trust = Trust::kShared;
  auto reaching = options();
  reaching.reach = {4 * kChunk};
  const auto tier = std::make_shared<DiskCache>(far);
  const auto blob = through(std::make_shared<DiskCache>(reaching), data_, through(tier, data_, source));
  source->stall(true, {6 * kChunk});
  Data out(10);
  must(blob->read_at({4 * kChunk}, out, until(Clock::now() + std::chrono::seconds(10))));
  must(blob->read_at({5 * kChunk}, out, until(Clock::now() + std::chrono::seconds(10))));
  EXPECT_TRUE(std::equal(out.begin(), out.end(), data_.begin() + 5 * kChunk));
  EXPECT_FALSE(blob->read_at({6 * kChunk}, out, until(Clock::now() + std::chrono::milliseconds(50))));
  source->stall(false);
  expect_same(*blob, data_);
}

TEST_F(DiskCacheTest, WhatFollowsAReadThatIsGivenUpIsGivenUpWithIt) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  auto reaching = options();
  reaching.reach = {4 * kChunk};
  const auto blob = through(std::make_shared<DiskCache>(reaching), data_, below);
  below->stall(true);
  Data out(10);
  EXPECT_FALSE(blob->read_at({4 * kChunk}, out, until(Clock::now() + std::chrono::milliseconds(50))));
  below->await_no_readers();  // although the fetch of what follows had minutes left
  below->stall(false);
  must(blob->read_at({5 * kChunk}, out));
  EXPECT_TRUE(std::equal(out.begin(), out.end(), data_.begin() + 5 * kChunk));
}

TEST_F(DiskCacheTest, WhatTheSourceGotWrongIsReplacedOnRequest) {
  Data wrong = data_;
  wrong[kChunk] ^= std::byte{1};
  const auto below = std::make_shared<FaultyBlob>(wrong);
  ReadContext anew;
  anew.anew = true;
  Data out(10);
  {
    const auto blob = through(cache(), data_, below);
    must(blob->read_at({kChunk}, out));
    EXPECT_EQ(out[0], wrong[kChunk]);
    below->replace(data_);
    must(blob->read_at({kChunk}, out));
    EXPECT_EQ(out[0], wrong[kChunk]);  // that it is wrong, its reader knows
    must(blob->read_at({kChunk}, out, anew));
    EXPECT_EQ(out[0], data_[kChunk]);
  }
  const int reads = below->reads();
  const auto blob = through(cache(), data_, below);
  must(blob->read_at({kChunk}, out));
  EXPECT_EQ(out[0], data_[kChunk]);
  EXPECT_EQ(below->reads(), reads);
}

// Also while what the one before brought is not written yet: that may be what was wrong.
TEST_F(DiskCacheTest, EachRequestToReadAnewIsOne) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  const auto blob = through(cache(), data_, below);
  ReadContext anew;
  anew.anew = true;
  Data out(10);
  for (int i = 1; i <= 50; ++i) {
    must(blob->read_at({kChunk}, out, anew));
    EXPECT_EQ(below->reads(), i);
  }
}

TEST_F(DiskCacheTest, FetchesOnceForAllThatWaitAndEachWaitsToItsOwnDeadline) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  const auto blob = through(cache(), data_, below);
  below->stall(true);
  std::vector<std::thread> patient;
  std::atomic<int> right = 0;
  for (int i = 0; i < 8; ++i)
    patient.emplace_back([&, i] {
      Data out(1000);
      if (blob->read_at({100'000 + 1000U * static_cast<unsigned>(i)}, out) &&
          std::equal(out.begin(), out.end(), data_.begin() + 100'000 + 1000 * i))
        ++right;
    });
  below->await_readers(1);
  Data out(10);
  const auto start = Clock::now();
  expect_error(blob->read_at({100'000}, out, until(start + milliseconds(50))), ErrorCode::kUnavailable, "");
  EXPECT_LT(Clock::now() - start, milliseconds(2000));
  std::stop_source stop;
  stop.request_stop();
  expect_error(blob->read_at({100'000}, out, {.stop = stop.get_token()}), ErrorCode::kCancelled, "");
  expect_error(blob->read_at({100'000}, out, from_memory()), ErrorCode::kWouldBlock, "");
  below->stall(false);
  for (std::thread& thread : patient) thread.join();
  EXPECT_EQ(right, 8);
  EXPECT_EQ(below->reads(), 1);
}

TEST_F(DiskCacheTest, AFetchThatNobodyWaitsForIsStoppedAndTriedAnewLater) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  const auto blob = through(cache(), data_, below);
  below->stall(true);
  Data out(10);
  expect_error(blob->read_at({0}, out, until(Clock::now() + milliseconds(20))), ErrorCode::kUnavailable, "");
  below->stall(false);
  must(blob->read_at({0}, out));
  EXPECT_EQ(below->reads(), 2);
}

TEST_F(DiskCacheTest, AFailedFetchFailsItsWaitersAloneAndIsTriedAgain) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  const auto blob = through(cache(), data_, below);
  below->replace(Data(data_.begin(), data_.begin() + 1'000'000));
  Data out(10);
  expect_error(blob->read_at({2'000'000}, out), ErrorCode::kIo, "cut short");
  must(blob->read_at({0}, out));
  below->replace(data_);
  expect_same(*blob, data_);
}

TEST_F(DiskCacheTest, DemandDoesNotWaitBehindPrefetch) {
  const auto slow = std::make_shared<FaultyBlob>(data_);
  auto few = options();
  few.prefetches = 1;
  const auto shared = std::make_shared<DiskCache>(few);
  const auto blob = through(shared, data_, slow);
  Random random(2);
  const Data other = some_bytes(random, 300'000);
  const auto next = through(shared, other, std::make_shared<FaultyBlob>(other));
  slow->stall(true);
  Data out(10);
  std::thread first([&] {
    Data into(10);
    must(blob->read_at({0}, into, prefetch()));
  });
  slow->await_readers(1);
  std::thread queued([&] {
    Data into(10);
    must(next->read_at({0}, into, prefetch()));
  });
  std::this_thread::sleep_for(milliseconds(20));
  must(next->read_at({0}, out, until(Clock::now() + std::chrono::seconds(20))));  // takes it out of the queue
  slow->stall(false);
  first.join();
  queued.join();
}

TEST_F(DiskCacheTest, MemoryAnswersWhatThePageCacheHasAndNothingElse) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  const auto blob = CachedBlob::open(cache(), Digest::of(data_), {data_.size()}, below);
  Data out(5000);
  must(blob->read_at({kChunk}, out));
  blob->flush();
  must(blob->read_at({kChunk}, out, from_memory()));
  EXPECT_TRUE(std::equal(out.begin(), out.end(), data_.begin() + kChunk));
  expect_error(blob->read_at({kChunk - 10}, out, from_memory()), ErrorCode::kWouldBlock, "");
  EXPECT_EQ(below->reads(), 1);
}

TEST_F(DiskCacheTest, WhatIsDamagedOnDiskIsFetchedAgainAndNeverServed) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  expect_same(*through(cache(), data_, below), data_);
  for (const std::string ending : {".data", ".map"}) {
    const Data good = test::read_file(file_of(data_, ending));
    for (int round = 0; round < (is_long() ? 30 : 8); ++round) {
      Data bad = good;
      for (int flips = 0; flips < 20; ++flips) bad[random_() % bad.size()] ^= std::byte{1} << (random_() % 8);
      if (round % 10 == 7) bad.resize(random_() % bad.size());
      {
        std::ofstream file(file_of(data_, ending), std::ios::binary | std::ios::trunc);
        file.write(reinterpret_cast<const char*>(bad.data()), static_cast<std::streamsize>(bad.size()));
      }
      const auto used = cache();
      expect_same(*through(used, data_, below), data_);
      if (ending == ".data") {
        EXPECT_GT(used->stats().damaged, 0U);
      }
    }
  }
  const auto healed = cache();
  expect_same(*through(healed, data_, below), data_);
  EXPECT_EQ(healed->stats().damaged + healed->stats().misses, 0U);
}

TEST_F(DiskCacheTest, ReadsAroundAFolderThatCannotBeTrusted) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  const auto path = folder_.path() / "cache";
  std::filesystem::create_directory(path);
  ::chmod(path.c_str(), 0777);
  const auto used = cache();
  expect_error(used->usable(), ErrorCode::kDenied, "written by others");
  expect_same(*through(used, data_, below), data_);
  EXPECT_GT(used->stats().bypasses, 0U);
  EXPECT_TRUE(std::filesystem::is_empty(path));
}

TEST_F(DiskCacheTest, OddThingsInTheFolderAreReplacedOrReadAround) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  const auto bait = folder_.path() / "bait";
  test::write_file(bait, data_);
  for (const std::string ending : {".data", ".map"})
    for (int kind = 0; kind < 4; ++kind) {
      std::filesystem::remove_all(folder_.path() / "cache");
      (void)cache();
      const auto path = file_of(data_, ending);
      if (kind == 0) std::filesystem::create_symlink(bait, path);
      if (kind == 1) (void)(::mkfifo(path.c_str(), 0600));
      if (kind == 2) std::filesystem::create_directory(path);
      if (kind == 3) std::filesystem::create_hard_link(bait, path);
      expect_same(*through(cache(), data_, below), data_);
      EXPECT_EQ(test::read_file(bait), data_);
    }
}

TEST_F(DiskCacheTest, EvictsWhatWasUsedLongestAgoAndStaysWithinItsLimit) {
  auto small = options();
  small.limit = {1'200'000};
  const auto used = std::make_shared<DiskCache>(small);
  const auto below = std::make_shared<FaultyBlob>(data_);
  const auto blob = CachedBlob::open(used, Digest::of(data_), {data_.size()}, below);
  Data out(10);
  const auto room = [&] {
    std::uint64_t sum = 0;
    for (const auto& entry : must(used->list())) sum += entry.room.value;
    return sum;
  };
  for (std::size_t chunk = 0; chunk < 8; ++chunk) must(blob->read_at({chunk * kChunk}, out));
  blob->flush();
  std::this_thread::sleep_for(milliseconds(1100));  // uses are known to the second
  for (std::size_t chunk = 20; chunk < 38; ++chunk) {
    must(blob->read_at({chunk * kChunk}, out));
    blob->flush();
    EXPECT_LE(room(), 1'200'000U);
  }
  EXPECT_GT(used->stats().evictions, 0U);
  const int before = below->reads();
  must(blob->read_at({37 * kChunk}, out));
  EXPECT_EQ(below->reads(), before) << "the last used stays";
  must(blob->read_at({0}, out));
  EXPECT_EQ(below->reads(), before + 1) << "the first used went";
  expect_same(*blob, data_);
}

TEST_F(DiskCacheTest, ManyThreadsReadRightBytesWhileChunksAreEvicted) {
  auto small = options();
  small.limit = {1'000'000};
  const auto used = std::make_shared<DiskCache>(small);
  const auto blob = through(used, data_, std::make_shared<FaultyBlob>(data_));
  std::vector<std::thread> threads;
  const auto end = Clock::now() + milliseconds(is_long() ? 60'000 : 1000);
  for (unsigned seed = 0; seed < 6; ++seed)
    threads.emplace_back([&, seed] {
      Random random(seed);
      Data out;
      while (Clock::now() < end) {
        const std::size_t at = random() % data_.size();
        out.resize(std::min<std::size_t>(random() % 150'000, data_.size() - at));
        must(blob->read_at({at}, out));
        ASSERT_TRUE(std::equal(out.begin(), out.end(), data_.begin() + static_cast<std::ptrdiff_t>(at)));
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(used->stats().evictions, 10U);
}

// A process that reads at random through the cache until it is killed, or for `time`; ends with 1 for wrong bytes.
pid_t start_reader(const DiskCacheOptions& options, const Data& data, unsigned seed, milliseconds time) {
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  {
    const auto used = std::make_shared<DiskCache>(options);
    const auto blob = CachedBlob::open(used, Digest::of(data), {data.size()}, std::make_shared<FaultyBlob>(data));
    Random random(seed);
    Data out;
    for (const auto end = Clock::now() + time; Clock::now() < end;) {
      const std::size_t at = random() % data.size();
      out.resize(std::min<std::size_t>(random() % 300'000, data.size() - at));
      if (!blob->read_at({at}, out) ||
          !std::equal(out.begin(), out.end(), data.begin() + static_cast<std::ptrdiff_t>(at)))
        ::_exit(1);
    }
  }
  ::_exit(0);
}

// Kills readers at random, and reads all after each.
void kill_readers(DiskCacheOptions small, const Data& data, unsigned rounds, unsigned most_microseconds) {
  Random random(3);
  const auto whole = small;
  small.limit = {1'500'000};  // so that it evicts, too
  std::uint64_t hits = 0;
  for (unsigned round = 0; round < rounds; ++round) {
    if (round % 10 == 0) std::filesystem::remove_all(small.folder);
    const pid_t pid = start_reader(small, data, round, std::chrono::seconds(60));
    ::usleep(static_cast<useconds_t>(random() % most_microseconds));
    ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it read wrong bytes";
    const pid_t reader = ::fork();  // threads of the cache stay out of this process, which forks
    if (reader == 0) {
      const auto used = std::make_shared<DiskCache>(whole);
      const auto blob = CachedBlob::open(used, Digest::of(data), {data.size()}, std::make_shared<FaultyBlob>(data));
      ::_exit(test::all_of(*blob) != data ? 1 : used->stats().damaged > 0 ? 2 : used->stats().hits > 0 ? 3 : 0);
    }
    ::waitpid(reader, &status, 0);
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_NE(WEXITSTATUS(status), 1) << "wrong bytes";
    ASSERT_NE(WEXITSTATUS(status), 2) << "a chunk counted that was not whole";
    const bool hit = WEXITSTATUS(status) == 3;
    hits += hit ? 1 : 0;
    if (!hit && most_microseconds < 2'000'000) most_microseconds += most_microseconds / 2;  // a slow machine
  }
  EXPECT_GT(hits, rounds / 8) << "the cache never had anything";
}

TEST_F(DiskCacheTest, KilledAtAnyPointItServesNothingButTheBlob) {
  kill_readers(options(), data_, is_long() ? 1000 : 15, 100'000);
}

TEST_F(DiskCacheTest, KilledAtAnyPointItServesNothingButTheBlobOnTmpfs) {
  test::TemporaryFolder folder("/dev/shm");
  auto in_memory = options();
  in_memory.folder = folder.path() / "cache";
  kill_readers(in_memory, data_, is_long() ? 5000 : 60, 15'000);
}

TEST_F(DiskCacheTest, ProcessesShareAFolder) {
  auto small = options();
  small.limit = {1'500'000};
  std::vector<pid_t> pids;
  for (unsigned seed = 0; seed < 5; ++seed)
    pids.push_back(start_reader(small, data_, seed, milliseconds(is_long() ? 30'000 : 1000)));
  for (const pid_t pid : pids) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

TEST_F(DiskCacheTest, AFullDiskIsReadAround) {
  if (::geteuid() != 0) GTEST_SKIP() << "NOT TESTED: mounting a small tmpfs needs root";
  const auto where = folder_.path() / "small";
  std::filesystem::create_directory(where);
  if (::mount("none", where.c_str(), "tmpfs", 0, "size=1m,mode=700") != 0) GTEST_SKIP() << "NOT TESTED: no tmpfs here";
  {
    DiskCacheOptions full{.folder = where / "cache", .chunk = {kChunk}, .reach = {kChunk}};
    const auto used = std::make_shared<DiskCache>(full);
    const auto below = std::make_shared<FaultyBlob>(data_);
    const auto blob = CachedBlob::open(used, Digest::of(data_), {data_.size()}, below);
    for (int i = 0; i < 3; ++i) {
      expect_same(*blob, data_);
      blob->flush();
    }
    EXPECT_GT(used->stats().bypasses + used->stats().evictions, 0U);
    EXPECT_GT(used->stats().hits, 0U) << "what is there is still used";
    std::ofstream(where / "filler") << std::string(2'000'000, 'x');
    expect_same(*blob, data_);
  }
  ::umount2(where.c_str(), MNT_DETACH);
}

TEST_F(DiskCacheTest, ATierIsFilledAndSparesTheSource) {
  auto far = options();
  far.folder = folder_.path() / "tier";
  far.trust = Trust::kShared;
  const auto tier = std::make_shared<DiskCache>(far);
  const auto source = std::make_shared<FaultyBlob>(data_);
  expect_same(*through(cache(), data_, through(tier, data_, source)), data_);
  const int reads = source->reads();
  std::filesystem::remove_all(folder_.path() / "cache");  // another host
  expect_same(*through(cache(), data_, through(tier, data_, source)), data_);
  EXPECT_EQ(source->reads(), reads);
}

TEST_F(DiskCacheTest, ADownloadedBlobIsWholeWhenItsDigestIsRight) {
  const auto below = std::make_shared<FaultyBlob>(data_);
  const auto used = cache();
  const auto blob = CachedBlob::open(used, Digest::of(data_), {data_.size()}, below);
  Data out(10);
  must(blob->read_at({1'000'000}, out));
  const auto start = Clock::now();
  must(blob->download({.delay = milliseconds(50), .bytes_per_second = 5'000'000}, {}));
  EXPECT_GT(Clock::now() - start, milliseconds(250));
  EXPECT_TRUE(must(used->list()).at(0).whole);
  EXPECT_TRUE(must(used->list()).at(0).in_use);
  const int reads = below->reads();
  expect_same(*blob, data_);
  EXPECT_EQ(below->reads(), reads);
}

TEST_F(DiskCacheTest, ADownloadOfOtherBytesThanTheDigestsIsDropped) {
  Data other = data_;
  other[1'234'567] ^= std::byte{1};
  const auto used = cache();
  const auto blob = CachedBlob::open(used, Digest::of(data_), {data_.size()}, std::make_shared<FaultyBlob>(other));
  expect_error(blob->download({}, {}), ErrorCode::kCorruption, "digest");
  EXPECT_EQ(must(used->list()).at(0).present, 0U);
  EXPECT_FALSE(must(used->list()).at(0).whole);
}

TEST_F(DiskCacheTest, PruningRemovesWhatNobodyUses) {
  const auto used = cache();
  { expect_same(*through(used, data_, std::make_shared<FaultyBlob>(data_)), data_); }
  EXPECT_EQ(must(used->list()).at(0).cached.value, data_.size());
  EXPECT_FALSE(must(used->list()).at(0).in_use);
  EXPECT_EQ(must(used->shrink({0})), 39U);
  EXPECT_TRUE(must(used->list()).empty());
  EXPECT_FALSE(std::filesystem::exists(file_of(data_, ".data")));
}

}  // namespace
}  // namespace dadi::cache
