#include "libformat/lsmt/stack_reader.h"

#include <algorithm>

#include "libformat/zfile/reader.h"
#include "tests/format/test_support.h"

namespace dadi::lsmt {
namespace {

using test::below;
using test::blob_of;
using test::Data;
using test::expect_error;
using test::make_layer;
using test::must;
using test::Random;
using Kind = Extent::Kind;

Data sectors(std::uint64_t count, int value) {
  return Data(count * kSectorSize, static_cast<std::byte>(value));
}

// What every sector of a device is, by the definition.
struct Naive {
  struct Sector {
    Kind kind = Kind::kHole;
    std::byte value{};
  };
  std::vector<Sector> all;

  explicit Naive(std::size_t size) : all(size) {}

  void set(std::uint64_t at, std::uint64_t length, Sector sector) {
    std::fill_n(all.begin() + static_cast<std::ptrdiff_t>(at), length, sector);
  }
  Extent extent(std::uint64_t at) const {
    std::uint64_t end = at + 1;
    while (end < all.size() && all[end].kind == all[at].kind) ++end;
    return {all[at].kind, {end - at}};
  }
};

// A layer of random segments, and the same on top of the naive device. Each sector is filled with one value.
Data add_layer(Naive& device, Random& random) {
  const std::uint64_t size = device.all.size();
  // What this layer says; a sector it says nothing about stays out.
  std::vector<std::optional<Naive::Sector>> own(size);
  const Data layer = make_layer({.virtual_size = {size * kSectorSize}}, [&](LayerWriter& writer) {
    for (std::uint64_t i = 0, count = below(random, 30); i < count; ++i) {
      const std::uint64_t at = below(random, size);
      const std::uint64_t length = 1 + below(random, std::min<std::uint64_t>(size - at, 1 + below(random, 50)));
      std::optional<Naive::Sector> sector;
      switch (below(random, 6)) {
        case 0:
          must(writer.write_zeroes({at}, {length}));
          sector = Naive::Sector{.kind = Kind::kZero};
          break;
        case 1:
          must(writer.discard({at}, {length}));
          break;
        default:
          sector = Naive::Sector{Kind::kData, static_cast<std::byte>(random())};
          must(writer.write({at}, Data(length * kSectorSize, sector->value)));
      }
      std::fill_n(own.begin() + static_cast<std::ptrdiff_t>(at), length, sector);
    }
  });
  for (std::size_t i = 0; i < size; ++i)
    if (own[i]) device.all[i] = *own[i];
  return layer;
}

void expect_equal(const StackReader& stack, const Naive& device, Random& random) {
  ASSERT_EQ(stack.size().value, device.all.size());
  for (std::size_t at = 0; at < device.all.size(); ++at)
    ASSERT_EQ(must(stack.next_extent({at})), device.extent(at)) << "at sector " << at;
  for (int i = 0; i < 50; ++i) {
    const std::uint64_t at = below(random, device.all.size() + 1);
    const std::uint64_t length = below(random, device.all.size() - at + 1);
    Data out(length * kSectorSize, std::byte{0xCC});
    must(stack.read_at({at}, out));
    for (std::uint64_t k = 0; k < length; ++k)
      ASSERT_TRUE(std::all_of(out.begin() + static_cast<std::ptrdiff_t>(k * kSectorSize),
                              out.begin() + static_cast<std::ptrdiff_t>((k + 1) * kSectorSize),
                              [&](std::byte b) { return b == device.all[at + k].value; }))
          << "sector " << at + k;
  }
}

TEST(StackReader, EqualsTheNaiveDeviceForAnyNumberOfLayers) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    Random random(seed);
    Naive device(1 + below(random, 400));
    std::vector<SharedBlob> layers;
    for (std::uint64_t i = 0, count = 1 + below(random, 9); i < count; ++i)
      layers.push_back(blob_of(add_layer(device, random)));
    expect_equal(*test::stack_of(layers), device, random);
    if (testing::Test::HasFatalFailure()) FAIL() << "seed " << seed;
  }
}

TEST(StackReader, Takes255Layers) {
  Random random(77);
  Naive device(2000);
  std::vector<SharedBlob> layers;
  for (std::size_t i = 0; i < kMaxLayers; ++i) {
    layers.push_back(blob_of(add_layer(device, random)));
    if (i == 0 || i == 126) expect_equal(*test::stack_of(layers), device, random);
  }
  expect_equal(*test::stack_of(layers), device, random);
  std::vector<LayerReader> many;
  for (std::size_t i = 0; i <= kMaxLayers; ++i) many.push_back(must(LayerReader::open(layers[0])));
  expect_error(StackReader::open(std::move(many)), ErrorCode::kInvalidArgument, "256 layers");
}

TEST(StackReader, ZeroedSegmentHidesDataBelow) {
  const Data bottom =
      make_layer({.virtual_size = {8192}}, [](LayerWriter& writer) { must(writer.write({0}, sectors(16, 5))); });
  const Data top =
      make_layer({.virtual_size = {8192}}, [](LayerWriter& writer) { must(writer.write_zeroes({4}, {4})); });
  const auto stack = test::stack_of({blob_of(bottom), blob_of(top)});
  Data out(16 * kSectorSize);
  must(stack->read_at({0}, out));
  EXPECT_EQ(out[4 * kSectorSize - 1], std::byte{5});
  EXPECT_EQ(out[4 * kSectorSize], std::byte{0});
  EXPECT_EQ(out[8 * kSectorSize], std::byte{5});
  EXPECT_EQ(must(stack->next_extent({5})), (Extent{Kind::kZero, {3}}));
}

TEST(StackReader, HasTheSizeOfTheTopmostLayerThatStatesOne) {
  const auto layer = [](std::uint64_t size) {
    return blob_of(
        make_layer({.virtual_size = {size}}, [](LayerWriter& writer) { must(writer.write({0}, sectors(4, 1))); }));
  };
  EXPECT_EQ(test::stack_of({layer(8192), layer(4096)})->size(), Sectors{8});
  EXPECT_EQ(test::stack_of({layer(4096), layer(8192)})->size(), Sectors{16});
  EXPECT_EQ(test::stack_of({layer(4096), layer(0)})->size(), Sectors{8});
  EXPECT_EQ(test::stack_of({layer(0)})->size(), Sectors{0});
}

TEST(StackReader, CutsOffWhatASmallerTopLeavesBelow) {
  const Data bottom =
      make_layer({.virtual_size = {8192}}, [](LayerWriter& writer) { must(writer.write({2}, sectors(14, 5))); });
  const Data top = make_layer({.virtual_size = {2048}}, [](LayerWriter&) {});
  const auto stack = test::stack_of({blob_of(bottom), blob_of(top)});
  EXPECT_EQ(must(stack->next_extent({2})), (Extent{Kind::kData, {2}}));
  Data out(5 * kSectorSize);
  expect_error(stack->read_at({0}, out), ErrorCode::kIo, "past the device's end");
}

TEST(StackReader, FailsReadsPastTheEndOrOfPartsOfSectors) {
  const auto stack = test::stack_of({blob_of(make_layer({.virtual_size = {8192}}, [](LayerWriter&) {}))});
  Data out(2 * kSectorSize);
  expect_error(stack->read_at({15}, out), ErrorCode::kIo, "past the device's end");
  expect_error(stack->read_at({~0ULL}, out), ErrorCode::kIo, "past the device's end");
  expect_error(stack->read_at({0}, std::span(out).first(100)), ErrorCode::kInvalidArgument, "not sectors");
  expect_error(stack->next_extent({16}), ErrorCode::kIo, "past the device's end");
  must(stack->read_at({16}, std::span(out).first(0)));
  expect_error(StackReader::open({}), ErrorCode::kInvalidArgument, "0 layers");
}

TEST(StackReader, NamesTheLayerThatCannotBeRead) {
  const Data bottom =
      make_layer({.virtual_size = {8192}}, [](LayerWriter& writer) { must(writer.write({0}, sectors(16, 5))); });
  Data top = test::make_zfile(
      make_layer({.virtual_size = {8192}}, [](LayerWriter& writer) { must(writer.write({8}, sectors(8, 6))); }));
  const auto second = must(zfile::Reader::open(blob_of(top)))->stored_range(1);  // the data, behind the header
  top[second.offset.value] ^= std::byte{1};
  const auto stack = test::stack_of({blob_of(bottom), blob_of(top)});
  Data out(8192);
  expect_error(stack->read_at({0}, out), ErrorCode::kCorruption, "layer 1: zfile block 1: checksum");
  must(stack->read_at({0}, std::span(out).first(4096)));
}

TEST(StackReader, ReadsWhatContinuesInOneGo) {
  class Counting final : public BlobReader {
   public:
    explicit Counting(SharedBlob blob) : blob_(std::move(blob)) {}
    Bytes size() const override { return blob_->size(); }
    Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override {
      ++reads;
      return blob_->read_at(offset, out, context);
    }
    mutable int reads = 0;

   private:
    SharedBlob blob_;
  };
  // 20 MiB in one piece are three records.
  const auto counting = std::make_shared<Counting>(blob_of(make_layer(
      {.virtual_size = {20U << 20}}, [](LayerWriter& writer) { must(writer.write({0}, sectors(40960, 1))); })));
  const auto stack = test::stack_of({counting});
  EXPECT_EQ(stack->index().segments(), 3U);
  counting->reads = 0;
  Data out(20U << 20);
  must(stack->read_at({0}, out));
  EXPECT_EQ(counting->reads, 1);
}

}  // namespace
}  // namespace dadi::lsmt
