// What other tools wrote, and what devices it must give: testdata/golden/README.md, and the README of the larger
// collection beside the repository.
#include <fstream>
#include <map>
#include <sstream>

#include "libformat/layer_file.h"
#include "libformat/tar_envelope/tar_envelope.h"
#include "tests/format/test_support.h"

namespace dadi {
namespace {

using lsmt::LayerReader;
using lsmt::StackReader;
using test::blob_of;
using test::Data;
using test::expect_error;
using test::must;
using test::read_file;
using Path = std::filesystem::path;
using Strings = std::vector<std::string>;

// The file of a sparse tar, unpacked with its holes.
std::shared_ptr<const FileBlob> unpack(const Path& archive, const test::TemporaryFolder& folder) {
  const auto outcome = test::run("tar --sparse -xzf '" + archive.string() + "' -C '" + folder.path().string() + "'");
  if (outcome.status != 0) throw std::runtime_error(outcome.output);
  const bool sealed = archive.filename().string().starts_with("seal");
  return must(FileBlob::open(folder.path() / (sealed ? "seal_data" : "writable_data")));
}

// Opens a layer in the form that its name tells.
LayerReader open_layer(const Path& path) {
  const std::string name = path.filename();
  if (name == "writable_data.gz")
    return must(LayerReader::open_append_only(blob_of(read_file(path)),
                                              blob_of(read_file(path.parent_path() / "writable_index"))));
  if (!name.ends_with(".sparse-tar.gz")) return must(open_layer_file(blob_of(read_file(path)))).layer;
  const test::TemporaryFolder folder;
  auto file = unpack(path, folder);  // stays readable when its folder goes
  if (name.starts_with("writable")) return must(LayerReader::open_sparse(std::move(file)));
  return must(LayerReader::open(std::move(file)));
}

// Opens stacks; a layer that is in several of them is opened once.
class Shelf {
 public:
  explicit Shelf(Path folder) : folder_(std::move(folder)) {}

  std::unique_ptr<StackReader> open_stack(const Strings& files) {
    std::vector<LayerReader> layers;
    for (const std::string& file : files) {
      if (!open_.contains(file)) open_.emplace(file, open_layer(folder_ / file));
      layers.push_back(open_.at(file));
    }
    return must(StackReader::open(std::move(layers)));
  }

 private:
  Path folder_;
  std::map<std::string, LayerReader> open_;
};

std::string digest_in(const Path& folder, const std::string& label) {
  std::ifstream list(folder / "DEVICE_SHA256");
  for (std::string line; std::getline(list, line);) {
    std::istringstream words(line);
    std::string name;
    std::string digest;
    words >> name >> digest;
    if (name == label) return digest;
  }
  throw std::runtime_error("no digest of " + label);
}

struct Row {
  Strings files;  // bottom first
  std::string label;
};

// That all these stacks are one device. Its digest is computed once, of the first; the others are compared with that.
void expect_device(const Path& folder, const std::vector<Row>& rows) {
  Shelf shelf(folder);
  std::unique_ptr<StackReader> first;
  const std::string digest = digest_in(folder, rows[0].label);
  for (const Row& row : rows) {
    SCOPED_TRACE(fmt::format("{} with {} files, the last {}", row.label, row.files.size(), row.files.back()));
    EXPECT_EQ(digest_in(folder, row.label), digest);
    auto stack = shelf.open_stack(row.files);
    if (!first) {
      first = std::move(stack);
      EXPECT_EQ(test::digest_of(*first).hex(), digest);
    } else {
      const auto difference = test::first_difference(*first, *stack);
      EXPECT_EQ(difference, std::nullopt) << "at sector " << difference->value;
    }
  }
}

// ---- One of each form, in the repository ----

Path small() {
  return test::testdata() / "golden";
}

TEST(SmallGolden, LayerZeroIsOneDeviceInEveryForm) {
  expect_device(small(),
                {{{"crafted/shuffled.zfile"}, "crafted/shuffled"}, {{"append/0/seal_data.gz"}, "append/ro-sealed0"}});
}

TEST(SmallGolden, LayersStackInEveryForm) {
  std::vector<Row> rows;
  for (const std::string bottom : {"crafted/shuffled.zfile", "append/0/seal_data.gz"}) {
    for (const std::string top : {"overlaybd.commit", "zstd-bs16.zfile", "raw.lsmt.gz"})
      rows.push_back({{bottom, "append/1/" + top}, "append/ro-merged-overlaybd.commit"});
    rows.push_back({{bottom, "append/1/writable_data.gz"}, "append/rw-through-layer1"});
  }
  expect_device(small(), rows);
}

TEST(SmallGolden, TheUpperLayerIsReadAlone) {
  std::vector<Row> rows;
  for (const std::string form : {"overlaybd.commit", "zstd-bs16.zfile", "raw.lsmt.gz", "writable_data.gz"})
    rows.push_back({{"append/1/" + form}, "append/ro-layer1only-overlaybd.commit"});
  expect_device(small(), rows);
}

TEST(SmallGolden, ASparseLayerIsReadFromItsHoles) {
  expect_device(small(), {{{"crafted/shuffled.zfile", "sparse/1/writable.sparse-tar.gz"}, "sparse/rw-through-layer1"}});
}

TEST(SmallGolden, TurboOciMetadataIsRefused) {
  expect_error(open_layer_file(blob_of(read_file(small() / "turbo_ext4/0/ext4.fs.meta"))), ErrorCode::kUnsupported,
               "TurboOCI");
}

TEST(SmallGolden, OurEnvelopeHeadIsTheReferencesByteForByte) {
  const Data blob = read_file(small() / "append/1/overlaybd.commit");
  const auto payload = must(tar_envelope::find_payload(*blob_of(blob)));
  ASSERT_TRUE(payload);
  EXPECT_EQ(payload->offset, tar_envelope::kHeadSize);
  EXPECT_TRUE(std::ranges::equal(tar_envelope::head(payload->size), std::span(blob).first(1536)));
  EXPECT_EQ(blob.size(), 1536 + payload->size.value + tar_envelope::tail_size(payload->size).value);
}

// The codecs are those of the system; where their bytes differ from the reference's, this shows the difference.
TEST(SmallGolden, OurZFileIsTheReferencesButForTheCodecsBytes) {
  const auto reader = must(zfile::Reader::open(blob_of(read_file(small() / "append/1/zstd-bs16.zfile"))));
  const auto ours = must(zfile::Reader::open(
      blob_of(test::make_zfile(test::all_of(*reader), {.algorithm = zfile::Algorithm::kZstd, .block_size = 16384}))));
  EXPECT_EQ(ours->info().blocks, reader->info().blocks);
  EXPECT_EQ(test::all_of(*ours), test::all_of(*reader));
}

// ---- All of them, beside the repository ----

const Strings kCompressed = {"lz4-bs4.zfile", "lz4-bs16.zfile", "zstd-bs4.zfile", "zstd-bs16.zfile",
                             "overlaybd.commit"};
const Strings kFolders = {"append", "sparse"};

Path full() {
  return *test::shared() / "golden";
}

// Every form of layer 0, whose device is the same in both folders, with its label.
std::vector<Row> bottoms() {
  std::vector<Row> rows;
  for (const std::string& folder : kFolders) {
    rows.push_back({{folder + "/0/raw.lsmt.gz"}, folder + "/ro-layer0-raw.lsmt"});
    for (const std::string& form : kCompressed)
      rows.push_back({{folder + "/0/" + form}, folder + "/ro-layer0-overlaybd.commit"});
    rows.push_back({{folder + "/from_seal.commit"}, folder + "/ro-sealed0"});
  }
  rows.push_back({{"append/0/usertag.zfile"}, "append/ro-layer0-overlaybd.commit"});
  rows.push_back({{"append/0/BROKEN-lz4-bs64.zfile"}, "append/ro-layer0-raw.lsmt"});
  rows.push_back({{"append/0/seal_data.gz"}, "append/ro-sealed0"});
  rows.push_back({{"sparse/0/seal_data.sparse-tar.gz"}, "sparse/ro-sealed0"});
  rows.push_back({{"append/0/writable_data.gz"}, "append/rw-through-layer0"});
  rows.push_back({{"sparse/0/writable.sparse-tar.gz"}, "sparse/rw-through-layer0"});
  rows.push_back({{"crafted/shuffled.zfile"}, "crafted/shuffled"});
  return rows;
}

TEST(Golden, LayerZeroIsOneDeviceInEveryForm) {
  DADI_REQUIRE_SHARED();
  expect_device(full(), bottoms());
}

TEST(Golden, LayerOneAloneIsOneDeviceInEveryForm) {
  DADI_REQUIRE_SHARED();
  for (const std::string& folder : kFolders) {
    std::vector<Row> rows = {{{folder + "/1/raw.lsmt.gz"}, folder + "/ro-layer1only-raw.lsmt"}};
    for (const std::string& form : kCompressed)
      rows.push_back({{folder + "/1/" + form}, folder + "/ro-layer1only-overlaybd.commit"});
    expect_device(full(), rows);
  }
}

TEST(Golden, BothLayersAreOneDeviceInEveryMixtureOfForms) {
  DADI_REQUIRE_SHARED();
  for (const std::string& folder : kFolders) {
    const std::string writable = folder == "append" ? "/1/writable_data.gz" : "/1/writable.sparse-tar.gz";
    std::vector<Row> rows = {{{folder + "/0/raw.lsmt.gz", folder + "/1/raw.lsmt.gz"}, folder + "/ro-merged-raw.lsmt"},
                             {{folder + "/merged.zfile"}, folder + "/ro-mergetool-zfile"},
                             {{folder + "/merged.raw.lsmt.gz"}, folder + "/ro-mergetool-zfile"}};
    for (const Row& bottom : bottoms()) {
      for (const std::string& form : kCompressed)
        rows.push_back({{bottom.files[0], folder + "/1/" + form}, folder + "/ro-merged-overlaybd.commit"});
      rows.push_back({{bottom.files[0], folder + writable}, folder + "/rw-through-layer1"});
    }
    expect_device(full(), rows);
  }
}

TEST(Golden, ZeroedSegmentsMaskTheLayerBelowInEveryForm) {
  DADI_REQUIRE_SHARED();
  std::vector<Row> rows;
  for (const Row& bottom : bottoms())
    rows.push_back({{bottom.files[0], "crafted/mask.lsmt.gz"}, "crafted/append-0-under-mask"});
  expect_device(full(), rows);
}

TEST(Golden, EveryCompressionUnwrapsToTheSameLayer) {
  DADI_REQUIRE_SHARED();
  for (const std::string& folder : kFolders) {
    for (const std::string layer : {"/0/", "/1/"}) {
      const Data raw = read_file(full() / (folder + layer + "raw.lsmt.gz"));
      for (const std::string& form : kCompressed)
        EXPECT_TRUE(
            test::all_of(*must(open_layer_file(blob_of(read_file(full() / (folder + layer + form))))).unwrapped) == raw)
            << folder << layer << form;
    }
    EXPECT_TRUE(test::all_of(*must(open_layer_file(blob_of(read_file(full() / folder / "merged.zfile")))).unwrapped) ==
                read_file(full() / folder / "merged.raw.lsmt.gz"));
  }
}

TEST(Golden, ACommitMessageIsRead) {
  DADI_REQUIRE_SHARED();
  const auto file = must(open_layer_file(blob_of(read_file(full() / "append/0/usertag.zfile"))));
  EXPECT_FALSE(file.layer.info().user_tag.empty());
}

TEST(Golden, TheOfficialBaseLayerIsReadDespiteItsGarbage) {
  DADI_REQUIRE_SHARED();
  const auto file = must(open_layer_file(must(FileBlob::open(full() / "ext4_64.zfile"))));
  const zfile::Info& info = file.zfile.value();
  EXPECT_EQ(info.blocks, 132309U);
  EXPECT_EQ(info.block_size, 4096U);
  EXPECT_EQ(info.longest_stored, 4118U);
  EXPECT_EQ(info.raw_size, Bytes{541937664});
  EXPECT_FALSE(info.digests || info.header_authoritative);
  EXPECT_EQ(file.layer.info().uuid.to_string(), "C02FB491-B4D4-4904-8684-A014D032AF78");
  EXPECT_TRUE(file.layer.info().parent.is_null());
  EXPECT_EQ(file.layer.info().virtual_size, Bytes{68719476736});

  Sectors zeroed{};
  Sectors data{};
  std::uint64_t zeroed_records = 0;
  for (const lsmt::Segment& segment : file.layer.segments()) {
    zeroed_records += segment.zeroed ? 1 : 0;
    (segment.zeroed ? zeroed : data) += segment.length;
  }
  EXPECT_EQ(file.layer.segments().size(), 8323U);
  EXPECT_EQ(zeroed_records, 8209U);
  EXPECT_EQ(zeroed, Sectors{133159536});
  EXPECT_EQ(data, Sectors{1058192});
  EXPECT_EQ(file.layer.segments()[6], (lsmt::Segment{{16383}, {16383}, {8296}, true}));

  Hasher hasher;
  Data piece(1U << 20);
  for (Bytes at{}; at < info.raw_size;) {
    const auto part = std::span(piece).first(std::min(piece.size(), (info.raw_size - at).value));
    must(file.unwrapped->read_at(at, part));
    hasher.update(part);
    at += Bytes{part.size()};
  }
  EXPECT_EQ(hasher.finish().hex(), "799dbd74cbcfbd7f37611057130b20fda0e1e671280df97cc3a05d73620d5ac7");
}

TEST(Golden, TheOfficialBaseLayersDeviceHasItsDigest) {
  DADI_REQUIRE_SHARED();
  if (std::getenv("DADI_LONG") == nullptr) GTEST_SKIP() << "NOT TESTED: takes minutes; set DADI_LONG=1";
  const auto stack = Shelf(full()).open_stack({"ext4_64.zfile"});
  EXPECT_EQ(test::digest_of(*stack).hex(), "e5f5b67aca37084f505d8af3570668fcf098b96ccb409e87caea98d4056a927d");
}

TEST(Golden, TurboOciMetadataIsRefused) {
  DADI_REQUIRE_SHARED();
  for (const char* name : {"turbo_ext4/0/ext4.fs.meta", "turbo_ext4/1/ext4.fs.meta", "turbo_erofs/0/erofs.fs.meta"})
    expect_error(open_layer_file(blob_of(read_file(full() / name))), ErrorCode::kUnsupported, "TurboOCI");
}

TEST(Golden, WritableLayersWithoutTheirIndexAreRefused) {
  DADI_REQUIRE_SHARED();
  expect_error(open_layer_file(blob_of(read_file(full() / "append/0/writable_data.gz"))), ErrorCode::kCorruption,
               "not sealed");
}

}  // namespace
}  // namespace dadi
