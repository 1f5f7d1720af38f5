// The log of small flushes: what is read from one, and what a layer that has one holds after a crash.
#include "libformat/lsmt/flush_log.h"

#include "libformat/base/crc64.h"
#include "libformat/base/endian.h"
#include "libformat/blob/disk_folder.h"
#include "libformat/lsmt/layer_reader.h"
#include "libformat/lsmt/record_log.h"
#include "tests/format/writable_device.h"

namespace dadi::lsmt {
namespace {

using test::below;
using test::change_at_random;
using test::CutFile;
using test::CutFolder;
using test::Data;
using test::expect_error;
using test::kDeviceSize;
using test::Model;
using test::must;

using Disk = std::shared_ptr<CutFile::Disk>;
using Layer = std::unique_ptr<WritableLayer>;

const Uuid kName = Uuid::parse("11111111-2222-3333-4444-555555555555").value();
const Uuid kOther = Uuid::parse("11111111-2222-3333-4444-555555555556").value();
constexpr WritableOptions kRestless{
    .limit = {}, .garbage = {16384}, .log = 60, .flush_log = {64U << 10}, .unrecorded = 24};
constexpr WritableOptions kCalm{.flush_log = {64U << 10}};

std::shared_ptr<const BlockReader> lower() {
  return std::make_shared<test::LowerDevice>(kDeviceSize);
}
Layer create(const Disk& disk, const WritableOptions& options = kCalm) {
  return must(WritableLayer::create(std::make_unique<CutFolder>(disk), WritableForm::kAppendOnly, {.uuid = kName},
                                    lower(), options));
}
Result<Layer> open(const Disk& disk, const WritableOptions& options = kCalm) {
  return WritableLayer::open(std::make_unique<CutFolder>(disk), lower(), options);
}

void write(WritableLayer& layer, Model& model, Sectors at, Sectors length, std::uint64_t number) {
  Data data;
  for (std::uint64_t i = 0; i < length.value; ++i)
    std::ranges::copy(test::sector_of(number, at.value + i), std::back_inserter(data));
  must(layer.write_at(at, data));
  model.change(at, length, number);
}
void write_and_flush(WritableLayer& layer, Model& model, Sectors at, std::uint64_t number) {
  write(layer, model, at, {8}, number);
  must(layer.flush());
  model.flush();
}

// The files as who opens them read-only sees them, on top of the device below.
std::string read_only(const CutFile::Disk& disk, Model model, bool with_flushes = true) {
  const auto blob = [&](const char* name) -> SharedBlob {
    const auto at = disk.files.find(name);
    return at == disk.files.end() ? nullptr : test::blob_of(at->second->now().bytes);
  };
  auto upper =
      LayerReader::open_append_only(blob(kDataName), blob(kIndexName), with_flushes ? blob(kFlushesName) : nullptr);
  if (!upper) return upper.error().message();
  std::vector<LayerReader> layers;
  layers.push_back(must(LayerReader::open(
      test::blob_of(test::make_layer({.virtual_size = to_bytes(kDeviceSize)}, [](LayerWriter& writer) {
        for (std::uint64_t at = 0; at < kDeviceSize.value; ++at) must(writer.write({at}, test::sector_of(1, at)));
      })))));
  layers.push_back(std::move(*upper));
  return model.settle(*must(StackReader::open(std::move(layers))));
}

// ---- The file ----

// A flush of one record for all of its data.
Data flush_of(std::uint64_t number, std::uint64_t place, SectorRange data, std::byte content,
              const Uuid& layer = kName) {
  const std::vector<Segment> records{{.offset = {7}, .length = data.length(), .moffset = data.begin}};
  const LoggedFlush flush{.place = place, .records = records, .data = data};
  Data raw(logged_size(flush).value, content);
  encode_flush(flush, layer, number, raw);
  return raw;
}
Data joined(std::initializer_list<Data> parts) {
  Data all;
  for (const Data& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}
LoggedRound read(const Data& raw) {
  return must(read_flush_log(*test::blob_of(raw), kName));
}
void store_checksum(Data& raw) {
  store_le(std::span(raw), 8, crc64(std::span(raw).subspan(16)));
}

TEST(FlushLogFile, ChecksumsAreThoseOfTheCatalogue) {
  EXPECT_EQ(crc64(std::as_bytes(std::span("123456789", 9))), 0x995DC9BBDF1939FAU);
}

TEST(FlushLogFile, IsOneRoundOfFlushesBehindEachOther) {
  const Data first = flush_of(5, 3, {{100}, {108}}, std::byte{1});
  const Data second = flush_of(6, 4, {{108}, {117}}, std::byte{2});
  const LoggedRound round = read(joined({first, second, Data(4096)}));
  EXPECT_EQ(first.size(), 8192U);
  EXPECT_EQ(round.place, 3U);
  EXPECT_EQ(round.data_at, Sectors{100});
  EXPECT_EQ(round.data, joined({Data(8 * kSectorSize, std::byte{1}), Data(9 * kSectorSize, std::byte{2})}));
  ASSERT_EQ(round.records.size(), 2 * kRecordSize);
  EXPECT_EQ(decode_record(std::span(round.records).subspan(kRecordSize)).segment, (Segment{{7}, {9}, {108}, false}));
  EXPECT_FALSE(round.torn);
  EXPECT_TRUE(read({}).empty());
  EXPECT_TRUE(read(Data(100, std::byte{9})).empty());
  EXPECT_TRUE(read(Data(65536)).empty());
}

TEST(FlushLogFile, EndsWhereAFlushIsOfAnotherRoundOrAnotherLayer) {
  const Data first = flush_of(5, 3, {{100}, {108}}, std::byte{1});
  for (const std::uint64_t number : {1, 4, 5, 7, 8}) {
    const LoggedRound round = read(joined({first, flush_of(number, 4, {{108}, {117}}, std::byte{2})}));
    EXPECT_EQ(round.records.size(), kRecordSize) << number;
    EXPECT_FALSE(round.torn);
  }
  EXPECT_EQ(read(joined({first, flush_of(6, 4, {{108}, {117}}, std::byte{2}, kOther)})).records.size(), kRecordSize);
  EXPECT_TRUE(read(flush_of(5, 3, {{100}, {108}}, std::byte{1}, kOther)).empty());
}

TEST(FlushLogFile, NoSectorOfATornFlushIsTakenForTheWhole) {
  const Data before = flush_of(4, 2, {{92}, {100}}, std::byte{1});
  const Data first = flush_of(5, 3, {{100}, {108}}, std::byte{1});
  const Data torn = flush_of(6, 4, {{108}, {120}}, std::byte{2});
  for (const std::byte old : {std::byte{0}, std::byte{1}})
    for (std::size_t at = 0; at < torn.size(); at += kSectorSize) {
      Data part = torn;
      std::fill_n(part.begin() + static_cast<std::ptrdiff_t>(at), kSectorSize, old);
      if (part == torn) continue;  // what nothing follows
      const LoggedRound round = read(joined({first, part, before}));
      EXPECT_EQ(round.records.size(), kRecordSize) << at;
      EXPECT_EQ(round.torn, at > 0);
    }
  // Sectors of its own, in another order.
  Data swapped = torn;
  std::fill_n(swapped.begin() + 1024, kSectorSize, std::byte{3});
  store_checksum(swapped);
  EXPECT_FALSE(read(swapped).empty());
  std::swap_ranges(swapped.begin() + 1024, swapped.begin() + 1536, swapped.begin() + 2048);
  EXPECT_TRUE(read(swapped).empty());
  EXPECT_TRUE(read(swapped).torn);
  // Cut off by the file's end.
  EXPECT_TRUE(read(Data(torn.begin(), torn.end() - 4096)).torn);
}

TEST(FlushLogFile, RefusesAWholeFlushThatMakesNoSense) {
  const auto refused = [](std::string_view part, auto&& change) {
    Data raw = flush_of(5, 3, {{100}, {108}}, std::byte{1});
    change(std::span(raw));
    store_checksum(raw);
    const auto round = read_flush_log(*test::blob_of(raw), kName);
    EXPECT_FALSE(round.has_value()) << part;
    if (round) return;
    EXPECT_NE(round.error().message().find(part), std::string::npos) << round.error().message();
  };
  const auto record = [](std::span<std::byte> raw, const Segment& segment) { encode_record(segment, raw.subspan(80)); };
  refused("version 2", [](auto raw) { store_le(raw, 16, std::uint32_t{2}); });
  refused("0 records", [](auto raw) { store_le(raw, 20, std::uint32_t{0}); });
  refused("from number", [](auto raw) { store_le(raw, 56, ~std::uint64_t{0}); });
  refused("from number", [](auto raw) { store_le(raw, 56, kMaxLogRecords); });
  refused("sectors at", [](auto raw) { store_le(raw, 64, std::uint64_t{7}); });
  refused("sectors at", [](auto raw) { store_le(raw, 64, ~std::uint64_t{0}); });
  refused("sectors at", [](auto raw) { store_le(raw, 64, kMaxMoffset.value - 1); });
  refused("not of its data", [](auto raw) { encode_padding(raw.subspan(80)); });
  refused("not of its data", [&](auto raw) { record(raw, {{7}, {0}, {100}}); });
  refused("not of its data", [&](auto raw) { record(raw, {{7}, {8}, {99}}); });
  refused("not of its data", [&](auto raw) { record(raw, {{7}, {8}, {101}}); });
  refused("not of its data", [&](auto raw) { record(raw, {{7}, {8}, {109}, true}); });
  refused("not of its data", [&](auto raw) { record(raw, {{kNowhere.value - 1}, {8}, {100}}); });
  // What does not fit into the file is as good as torn.
  for (const std::uint32_t many : {16U, 0xFFFFFFFFU}) {
    Data raw = flush_of(5, 3, {{100}, {108}}, std::byte{1});
    store_le(std::span(raw), 24, many);
    store_checksum(raw);
    EXPECT_TRUE(read(raw).empty());
    store_le(std::span(raw), 20, many * 999);
    store_checksum(raw);
    EXPECT_TRUE(read(raw).empty());
  }
  const Data first = flush_of(5, 3, {{100}, {108}}, std::byte{1});
  for (const Data& second : {flush_of(6, 5, {{108}, {109}}, {}), flush_of(6, 4, {{109}, {110}}, {})})
    expect_error(read_flush_log(*test::blob_of(joined({first, second})), kName), ErrorCode::kCorruption,
                 "does not go on");
  expect_error(read_flush_log(*test::blob_of(Data((16U << 20) + 1)), kName), ErrorCode::kCorruption, "more than");
}

// ---- The layer ----

TEST(FlushLogs, TakeSmallFlushesWithOneSync) {
  const auto disk = std::make_shared<CutFile::Disk>();
  Model model;
  const Layer layer = create(disk);
  write_and_flush(*layer, model, {0}, 2);
  EXPECT_FALSE(disk->files.contains(kFlushesName));
  write_and_flush(*layer, model, {8}, 3);
  ASSERT_TRUE(disk->files.contains(kFlushesName));
  for (std::uint64_t i = 0; i < 40; ++i) {  // several rounds
    const std::size_t before = disk->syncs;
    write_and_flush(*layer, model, {16 + 8 * (i % 8)}, 4 + i);
    EXPECT_EQ(disk->syncs - before, i % 9 == 8 ? 2U : 1U) << i;
    EXPECT_EQ(read_only(*disk, model, false), "") << "the two files, as the system has them, are whole";
    EXPECT_EQ(read_only(*disk, model), "");
  }
  // A large one goes to the two files.
  const std::size_t before = disk->syncs;
  write(*layer, model, {0}, kDeviceSize, 90);
  must(layer->flush());
  EXPECT_EQ(disk->syncs - before, 2U);
}

TEST(FlushLogs, LoseNothingThatWasFlushedWhenPowerGoesAndGoesAgain) {
  const std::uint64_t seeds = std::getenv("DADI_LONG") != nullptr ? 200 : test::kThreadSanitizer ? 1 : 4;
  std::uint64_t cuts = 0;
  std::uint64_t played = 0;
  std::uint64_t read = 0;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    test::Random random(seed);
    std::vector<Layer> killed;
    // Opens what a cut left, and what cuts while it is opened leave of that; uses it, and cuts its power again, or
    // kills the process alone, which leaves what was written, durable or not.
    std::function<std::string(const Disk&, Model, int)> survive = [&](const Disk& disk, Model model, int depth) {
      ++cuts;
      const Model before = model;
      read += read_only(*disk, before).empty() ? 1 : 0;
      if (const auto log = disk->files.find(kFlushesName); log != disk->files.end())
        played += must(read_flush_log(*log->second, kName)).empty() ? 0 : 1;
      std::vector<Disk> cut_again;
      disk->after_change = [&] {
        if (depth > 0 && below(random, 4) == 0) cut_again.push_back(disk->after_power_cut(random));
      };
      auto opened = open(disk, kRestless);
      disk->after_change = [] {};
      if (!opened) return opened.error().message();
      if (std::string wrong = model.resume(**opened); !wrong.empty()) return wrong;
      for (const Disk& again : cut_again)
        if (std::string wrong = survive(again, before, depth - 1); !wrong.empty()) return "cut again: " + wrong;
      if (depth == 0) return std::string();
      std::uint64_t number = 1000000 * static_cast<std::uint64_t>(4 - depth) + cuts;
      change_at_random(**opened, model, random, 30, number, 3);
      if (below(random, 3) != 0) return survive(disk->after_power_cut(random), model, depth - 1);
      killed.push_back(std::move(*opened));
      return survive(disk, model, depth - 1);
    };
    const auto disk = std::make_shared<CutFile::Disk>();
    Model model;
    std::uint64_t number = 1;
    std::string wrong;
    Layer layer = create(disk, kRestless);
    std::uint64_t cut_each = 32;
    disk->after_change = [&] {
      if (wrong.empty() && below(random, cut_each) == 0) wrong = survive(disk->after_power_cut(random), model, 3);
    };
    change_at_random(*layer, model, random, 400, number, 3);
    cut_each = 1;
    layer.reset();
    disk->after_change = [] {};
    ASSERT_EQ(wrong, "") << "seed " << seed;
    EXPECT_FALSE(disk->files.contains(kFlushesName));
  }
  EXPECT_GT(cuts, 500 * seeds);
  EXPECT_GT(played, cuts / 8);
  EXPECT_GT(read, cuts / 8);
}

TEST(FlushLogs, AreGoneWhenTheLayerIsClosedAndItsFilesAreThoseOfTheReference) {
  const test::TemporaryFolder folder;
  const auto upper = folder.path() / "upper";
  test::Random random(7);
  Model model;
  std::uint64_t number = 1;
  Layer layer = must(
      WritableLayer::create(must(DiskFolder::open(upper)), WritableForm::kAppendOnly, {.uuid = kName}, lower(), kCalm));
  for (int round = 0; round < 5; ++round) {
    change_at_random(*layer, model, random, 200, number, 3);
    EXPECT_TRUE(std::filesystem::exists(upper / kFlushesName));
    must(layer->flush());
    layer.reset();
    EXPECT_FALSE(std::filesystem::exists(upper / kFlushesName));
    const auto reader = must(LayerReader::open_append_only(must(FileBlob::open(upper / kDataName)),
                                                           must(FileBlob::open(upper / kIndexName))));
    layer = must(WritableLayer::open(must(DiskFolder::open(upper)), lower(), kCalm));
    EXPECT_EQ(layer->notes(), std::vector<std::string>());
    EXPECT_EQ(model.compare(*layer), "");
    for (const Segment& segment : reader.segments()) {
      Data theirs(to_bytes(segment.length).value);
      Data ours(theirs.size());
      if (!segment.zeroed) must(reader.read_data(segment.moffset, theirs));
      must(layer->read_at(segment.offset, ours));
      ASSERT_EQ(theirs, ours) << segment.offset.value;
    }
  }
  must(layer->seal());
  EXPECT_FALSE(std::filesystem::exists(upper / kFlushesName));
}

// A disk on which three flushes are in the flush log, and of data and index only what was durable before.
struct Pending {
  Disk disk = std::make_shared<CutFile::Disk>();
  Model model;
  Disk after;

  Pending() {
    const Layer layer = create(disk);
    for (std::uint64_t i = 0; i < 2; ++i) write_and_flush(*layer, model, {8 * i}, 2 + i);
    write_and_flush(*layer, model, {16}, 10);
    must(layer->discard({0}, {4}));
    model.change({0}, {4}, 0);
    write_and_flush(*layer, model, {64}, 11);
    write_and_flush(*layer, model, {16}, 12);
    after = std::make_shared<CutFile::Disk>();
    for (const auto& [name, file] : disk->files) after->files[name] = std::make_shared<CutFile>(after, file->durable());
  }
};

TEST(FlushLogs, AreReadByWhoOpensTheLayerReadOnly) {
  const Pending pending;
  EXPECT_EQ(read_only(*pending.after, pending.model), "");
  EXPECT_NE(read_only(*pending.after, pending.model, false), "") << "the two files alone have less";
  const Layer layer = must(open(pending.after));
  EXPECT_EQ(pending.model.compare(*layer), "");
  EXPECT_EQ(read_only(*pending.after, pending.model, false), "") << "once opened for writing, they have all";
  EXPECT_FALSE(pending.after->files.contains(kFlushesName));
}

TEST(FlushLogs, OfAnotherLayerSayNothing) {
  const Pending pending;
  const auto log = pending.after->files[kFlushesName];
  auto raw = must(read_range(*log, {0}, log->size()));
  raw[32] ^= std::byte{1};
  store_checksum(raw);
  must(log->write_at({0}, raw));
  Model model;  // as of before
  for (std::uint64_t i = 0; i < 2; ++i) model.change({8 * i}, {8}, 2 + i);
  const Layer layer = must(open(pending.after));
  EXPECT_EQ(model.compare(*layer), "");
  EXPECT_FALSE(pending.after->files.contains(kFlushesName));
  // And none outlives a new layer in the same folder.
  const Pending again;
  EXPECT_EQ(Model().compare(*create(again.after)), "");
}

TEST(FlushLogs, AreRefusedWhereAnotherProgramHasWrittenToTheLayer) {
  const auto refused = [](std::string_view part, auto&& change) {
    const Pending pending;
    change(*pending.after->files[kDataName], *pending.after->files[kIndexName]);
    expect_error(open(pending.after), ErrorCode::kCorruption, part);
    EXPECT_NE(read_only(*pending.after, pending.model).find(part), std::string::npos);
    EXPECT_TRUE(pending.after->files.contains(kFlushesName));
    // What the error advises helps.
    pending.after->files.erase(kFlushesName);
    must(open(pending.after));
  };
  const auto record = [](const Segment& segment) {
    std::array<std::byte, kRecordSize> raw{};
    encode_record(segment, raw);
    return raw;
  };
  // As the reference appends: data where the data file ends, a record where the log ends; or over our padding.
  refused("another program", [&](auto& data, auto& index) {
    const Sectors at = whole_sectors(data.size());
    must(data.write_at(data.size(), Data(4096, std::byte{5})));
    must(index.write_at(index.size(), record({{0}, {8}, at})));
  });
  refused("another program", [&](auto& data, auto& index) {
    const Sectors at = whole_sectors(data.size());
    must(data.write_at(data.size(), Data(4096, std::byte{5})));
    must(index.write_at({4096 + 2 * kRecordSize}, record({{0}, {8}, at})));
  });
  const auto cut = [](std::string_view part, const char* name) {
    const Pending pending;
    must(pending.after->files[name]->resize({4096}));
    expect_error(open(pending.after), ErrorCode::kCorruption, part);
  };
  cut("behind the end of writable_data", kDataName);
  cut("behind the end of writable_index", kIndexName);
}

TEST(FlushLogs, SayWhatACrashHadTorn) {
  const Pending pending;
  const auto log = pending.after->files[kFlushesName];
  must(log->write_at({2 * 8192 + 4096}, Data(512, std::byte{1})));  // in the third flush
  const Layer layer = must(open(pending.after));
  ASSERT_EQ(layer->notes().size(), 1U);
  EXPECT_NE(layer->notes()[0].find("writable_flushes: left out"), std::string::npos);
  Data read(kSectorSize);
  must(layer->read_at({16}, read));
  EXPECT_EQ(read, test::sector_of(10, 16));
  must(layer->read_at({64}, read));
  EXPECT_EQ(read, test::sector_of(11, 64));
}

TEST(FlushLogs, AreDoneWithoutWhereThereIsNoRoom) {
  // The room ends at every block there is, before the flush log or after; whatever fails, what was flushed stays.
  std::set<bool> logged;
  std::uint64_t failed = 0;
  for (std::size_t room = 16U << 10; room < 260U << 10; room += 4096) {
    const auto disk = std::make_shared<CutFile::Disk>();
    disk->room = room;
    Layer layer = create(disk, kRestless);
    Model model;
    test::Random random(room);
    bool has_log = false;
    for (std::uint64_t number = 2; number < 80; ++number) {
      const Sectors at{number * 8 % 256};
      Data data;
      for (std::uint64_t i = 0; i < 8; ++i)
        std::ranges::copy(test::sector_of(number, at.value + i), std::back_inserter(data));
      const auto written = layer->write_at(at, data);
      if (written) model.change(at, {8}, number);
      if (const auto flushed = layer->flush(); flushed) {
        model.flush();
      } else {
        expect_error(flushed, ErrorCode::kExhausted, "");
      }
      if (!written) {
        ++failed;
        expect_error(written, ErrorCode::kExhausted, "");
      }
      has_log = has_log || disk->files.contains(kFlushesName);
      ASSERT_EQ(Model(model).settle(*must(open(disk->after_power_cut(random), kRestless))), "") << room;
    }
    logged.insert(has_log);
    EXPECT_EQ(model.compare(*layer), "");
    disk->room.reset();
    write_and_flush(*layer, model, {0}, 90);
    layer.reset();
    EXPECT_EQ(model.compare(*must(open(disk))), "");
  }
  EXPECT_EQ(logged.size(), 2U);
  EXPECT_GT(failed, 100U);
}

TEST(FlushLogs, GiveTheirRoomBackWhenDataNeedsIt) {
  const auto disk = std::make_shared<CutFile::Disk>();
  WritableOptions options = kCalm;
  options.limit = {128U << 10};
  const Layer layer = create(disk, options);
  Model model;
  for (std::uint64_t i = 0; i < 4; ++i) write_and_flush(*layer, model, {8 * i}, 2 + i);
  EXPECT_TRUE(disk->files.contains(kFlushesName));
  for (std::uint64_t i = 4; i < 24; ++i) write_and_flush(*layer, model, {8 * i}, 2 + i);
  EXPECT_FALSE(disk->files.contains(kFlushesName));
  EXPECT_EQ(model.compare(*layer), "");
}

// Writes to a file fail, as on a file system that copies on write and is full.
TEST(FlushLogs, FallBackToTheTwoFilesWhenTheyCannotBeWritten) {
  for (const std::string failing : {kFlushesName, kIndexName}) {
    const auto disk = std::make_shared<CutFile::Disk>();
    Layer layer = create(disk);
    Model model;
    for (std::uint64_t i = 0; i < 3; ++i) write_and_flush(*layer, model, {8 * i}, 2 + i);
    test::Random random(1);
    for (std::uint64_t i = 0; i < 30; ++i) {
      if (i % 3 == 0) disk->failing = {failing};
      write_and_flush(*layer, model, {8 * (i % 7)}, 10 + i);
      disk->failing.clear();
      ASSERT_EQ(Model(model).settle(*must(open(disk->after_power_cut(random)))), "") << failing << i;
      EXPECT_EQ(read_only(*disk, model), "");
    }
    layer.reset();
    EXPECT_EQ(model.compare(*must(open(disk))), "");
  }
}

TEST(FlushLogs, AreNotUsedWhereAFlushLeftRecordsThatAreNotThoseOfTheNext) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    test::Random random(seed);
    const auto disk = std::make_shared<CutFile::Disk>();
    const Layer layer = create(disk);
    Model model;
    for (std::uint64_t i = 0; i < 3; ++i) write_and_flush(*layer, model, {8 * i}, 2 + i);
    for (std::uint64_t i = 0; i < 32; ++i) write(*layer, model, {100 + 2 * i}, {1}, 10 + i);
    disk->failing = {kFlushesName, kIndexName};
    expect_error(layer->flush(), ErrorCode::kExhausted, "");
    disk->failing.clear();
    // This becomes one with the last record, which is in the index already.
    write(*layer, model, {100 + 2 * 31 + 1}, {1}, 50);
    must(layer->flush());
    model.flush();
    ASSERT_EQ(model.settle(*must(open(disk->after_power_cut(random)))), "") << seed;
  }
}

TEST(FlushLogs, OfAKilledProcessMakeDurableWhatTheNextOneSees) {
  struct Killed {};
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    test::Random random(seed);
    const auto disk = std::make_shared<CutFile::Disk>();
    Model model;
    std::uint64_t number = 1;
    WritableOptions options = kRestless;
    if (seed % 2 == 0) options.flush_log = {};
    const Layer killed = create(disk, options);
    std::uint64_t left = 20 + below(random, 200);
    disk->after_change = [&] {
      if (--left == 0) throw Killed();
    };
    try {
      while (true) change_at_random(*killed, model, random, 10, number, 3);
    } catch (const Killed&) {
    }
    disk->after_change = [] {};
    const Layer next = must(open(disk, kRestless));
    ASSERT_EQ(model.resume(*next), "");
    must(next->flush());
    model.flush();
    ASSERT_EQ(model.settle(*must(open(disk->after_power_cut(random)))), "") << seed;
  }
}

TEST(FlushLogs, TakeNoMoreWritesOnceTheyDidNotSync) {
  const Pending pending;
  Layer layer = create(pending.disk);
  Model model;
  for (std::uint64_t i = 0; i < 4; ++i) write_and_flush(*layer, model, {8 * i}, 2 + i);
  write(*layer, model, {0}, {8}, 20);
  pending.disk->sync_fails = true;
  expect_error(layer->flush(), ErrorCode::kIo, "the disk is gone");
  pending.disk->sync_fails = false;
  expect_error(layer->flush(), ErrorCode::kIo, "no more writes");
  expect_error(layer->write_at({0}, test::sector_of(6, 0)), ErrorCode::kIo, "no more writes");
  layer.reset();
  EXPECT_TRUE(pending.disk->files.contains(kFlushesName)) << "who opens it next needs it";
  test::Random random(1);
  EXPECT_EQ(model.settle(*must(open(pending.disk->after_power_cut(random)))), "");
}

}  // namespace
}  // namespace dadi::lsmt
