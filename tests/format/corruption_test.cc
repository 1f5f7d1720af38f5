// Layers that are damaged: an error, or the very same device. Never other bytes, never a crash.
#include <algorithm>

#include "libformat/layer_file.h"
#include "tests/format/test_support.h"

namespace dadi {
namespace {

using test::blob_of;
using test::Data;
using test::must;
using test::Random;

// Everything that can be read of a layer file.
Result<Data> read_device(const Data& blob) {
  DADI_TRY(LayerFile file, open_layer_file(blob_of(blob)));
  std::vector<lsmt::LayerReader> layers;
  layers.push_back(std::move(file.layer));
  DADI_TRY(const auto stack, lsmt::StackReader::open(std::move(layers)));
  if (stack->size() > Sectors{256}) return Error::corruption("another size");  // no need to read terabytes
  Data device(to_bytes(stack->size()).value);
  DADI_CHECK(stack->read_at({0}, device));
  return device;
}

Data sample_layer() {
  Random random(5);
  return test::make_layer({.virtual_size = {1U << 16}, .uuid = {}, .parent = {}, .user_tag = "tag"},
                          [&](lsmt::LayerWriter& writer) {
                            must(writer.write({64}, test::mixed_bytes(random, 12 * 512)));
                            must(writer.write({8}, test::mixed_bytes(random, 9 * 512)));
                            must(writer.write_zeroes({30}, {10}));
                          });
}

Data sample_blob(zfile::Algorithm algorithm = zfile::Algorithm::kLz4) {
  return test::make_envelope(test::make_zfile(sample_layer(), {.algorithm = algorithm}));
}

class Damage : public testing::TestWithParam<zfile::Algorithm> {};
INSTANTIATE_TEST_SUITE_P(Algorithms, Damage, testing::Values(zfile::Algorithm::kLz4, zfile::Algorithm::kZstd));

TEST_P(Damage, AFlippedBitIsFoundOrChangesNothing) {
  const Data blob = sample_blob(GetParam());
  const Data device = must(read_device(blob));
  std::size_t found = 0;
  Data damaged = blob;
  for (std::size_t at = 0; at < blob.size(); ++at) {
    for (int bit = static_cast<int>(at % 2); bit < 8; bit += 2) {
      damaged[at] ^= std::byte{1} << bit;
      const auto result = read_device(damaged);
      ASSERT_TRUE(!result || *result == device) << "byte " << at << " bit " << bit;
      found += result ? 0 : 1;
      damaged[at] = blob[at];
    }
  }
  // All but what pads the archive and its headers.
  EXPECT_GT(found, (blob.size() - 3 * 512 - 1024 - 512) * 4);
}

TEST_P(Damage, ABlobThatIsCutShortIsRefusedWhereverItIsCut) {
  const Data blob = sample_blob(GetParam());
  for (std::size_t size = 0; size < blob.size(); ++size)
    ASSERT_FALSE(read_device(Data(blob.begin(), blob.begin() + static_cast<std::ptrdiff_t>(size))).has_value()) << size;
}

TEST(DamagedLayer, IsRefusedWhereverItIsCut) {
  const Data layer = sample_layer();
  for (std::size_t size = 0; size < layer.size(); size += size % 512 == 511 || size % 512 == 0 ? 1 : 510)
    ASSERT_FALSE(read_device(Data(layer.begin(), layer.begin() + static_cast<std::ptrdiff_t>(size))).has_value())
        << size;
}

TEST(DamagedZFile, IsRefusedWhereverItIsCut) {
  const Data zfile = test::make_zfile(sample_layer());
  for (std::size_t size = 0; size < zfile.size(); ++size)
    ASSERT_FALSE(read_device(Data(zfile.begin(), zfile.begin() + static_cast<std::ptrdiff_t>(size))).has_value())
        << size;
}

// An uncompressed layer has no checksums: damage may go unseen, but must not do more.
TEST(DamagedLayer, DoesNoHarm) {
  const Data layer = sample_layer();
  Random random(6);
  std::vector<std::size_t> places;  // what is neither data nor zeros behind the ends' fields
  for (std::size_t at = 0; at < 400; ++at) places.push_back(at), places.push_back(layer.size() - 4096 + at);
  for (std::size_t at = 0; at < 6 * 16; ++at) places.push_back(layer.size() - 8192 + at);
  std::size_t refused = 0;
  for (int round = 0; round < 4000; ++round) {
    Data damaged = layer;
    for (std::uint64_t i = 0, count = 1 + test::below(random, 4); i < count; ++i)
      damaged[places[test::below(random, places.size())]] = static_cast<std::byte>(random());
    refused += read_device(damaged) ? 0 : 1;
  }
  EXPECT_GT(refused, 2000U);
}

// The same inside a sound ZFile: the layer's own checks have to hold.
TEST(DamagedLayer, DoesNoHarmFromWithinAZFile) {
  const Data layer = sample_layer();
  Random random(7);
  for (int round = 0; round < 500; ++round) {
    Data damaged = layer;
    const std::size_t at = layer.size() - 8192 + test::below(random, 4096 + 400);
    for (std::size_t i = 0; i < 8; ++i) damaged[at + i] = static_cast<std::byte>(random());
    (void)read_device(test::make_zfile(damaged)).has_value();
  }
}

TEST(DamagedZFile, DoesNoHarm) {
  for (const auto algorithm : {zfile::Algorithm::kLz4, zfile::Algorithm::kZstd}) {
    const Data zfile = test::make_zfile(sample_layer(), {.algorithm = algorithm});
    Random random(8);
    for (int round = 0; round < 2000; ++round) {
      Data damaged = zfile;
      for (std::uint64_t i = 0, count = 1 + test::below(random, 8); i < count; ++i)
        damaged[test::below(random, damaged.size())] = static_cast<std::byte>(random());
      // As a file without digests, so that more of it is believed.
      damaged[32] = std::byte{0x03};
      damaged[damaged.size() - 512 + 32] = std::byte{0x06};
      (void)read_device(damaged).has_value();
    }
  }
}

}  // namespace
}  // namespace dadi
