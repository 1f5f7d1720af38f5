// Random damage, thousands of times: neither the verifier nor the reader may crash, hang or ask for much memory (the
// sanitizers watch), and where there are checksums no flipped bit goes unseen.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "libformat/base/endian.h"
#include "libfs/check/check.h"
#include "libfs/ext4/block_map.h"
#include "libfs/ext4/image.h"
#include "libfs/ext4/layout.h"
#include "tests/fs/ext4_fixture.h"

namespace dadi::fs::test {
namespace {

// A device whose bytes can be changed between reads. One thread at a time.
class MutableDevice final : public BlockReader {
 public:
  explicit MutableDevice(std::vector<std::byte> content) : bytes(std::move(content)) {}

  Sectors size() const override { return whole_sectors(bytes); }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext&) const override {
    if (at > size() || whole_sectors(out) > size() - at) return Error::io("read past the end of the device");
    std::ranges::copy(std::span(bytes).subspan(to_bytes(at).value, out.size()), out.begin());
    return {};
  }
  Result<Extent> next_extent(Sectors at) const override {
    return Extent{.kind = Extent::Kind::kData, .length = size() - at};
  }

  std::vector<std::byte> bytes;
};

// Reads all that a volume offers, as deep as damage allows. Each directory once: damage makes circles.
class Walk {
 public:
  explicit Walk(const Volume& volume) : volume_(volume) {}

  void visit(InodeNumber number) {
    if (!seen_.insert(number).second) return;
    const auto inode = volume_.inode(number);
    if (!inode) return;
    (void)volume_.xattrs(*inode);
    (void)volume_.read_link(*inode);
    (void)volume_.extents(*inode);
    buffer_.resize(std::min<std::uint64_t>(inode->size.value, 10'000));
    (void)volume_.read(*inode, {0}, buffer_);
    (void)volume_.read(*inode, inode->size - Bytes{buffer_.size()}, buffer_);
    const auto entries = volume_.list(*inode);
    if (!entries) return;
    for (const DirectoryEntry& entry : *entries) visit(entry.inode);
  }

 private:
  const Volume& volume_;
  std::set<InodeNumber> seen_;
  std::vector<std::byte> buffer_;
};

class MutationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_e2fsprogs()) GTEST_SKIP() << "needs e2fsprogs";
    std::filesystem::create_directory(source_);
    fill_small_source_folder(source_);
    write_bytes(scratch_.path() / "large", std::vector<std::byte>(300, std::byte{'v'}));
  }

  void make(const std::string& options) {
    const std::string commands = fmt::format(
        "ea_set -f {}/large /file user.large\nea_set /file user.a b\nmknod pipe p\n", scratch_.path().string());
    ASSERT_NO_FATAL_FAILURE(make_image(
        {.options = options, .size = "2M", .debugfs = commands, .index_directories = true}, source_, image_));
    device_ = std::make_shared<MutableDevice>(read_bytes(image_));
    find_metadata();
  }

  // Where the image keeps what is not files' content: ranges of bytes.
  void find_metadata() {
    const auto image = *Image::open(device_);
    const Superblock& sb = image->superblock();
    const auto volume = *Volume::open(device_);
    metadata_ = {{layout::kSuperblockOffset, layout::kSuperblockSize},
                 {std::uint64_t{sb.first_data_block + 1} * sb.block_size, sb.group_count * sb.descriptor_size}};
    const GroupDescriptor group = *image->group(0);
    metadata_.push_back({group.block_bitmap * sb.block_size, sb.blocks_per_group / 8});
    metadata_.push_back({group.inode_bitmap * sb.block_size, sb.inodes_per_group / 8});
    metadata_.push_back({group.inode_table * sb.block_size, (sb.inodes_per_group - group.free_inodes) * sb.inode_size});
    for (InodeNumber number = 2; number <= sb.inodes_per_group; ++number) {
      const auto inode = volume->inode(number);
      if (!inode || inode->attributes.type == FileType::kFifo) continue;
      add_blocks(*image, *inode);
    }
  }

  void add_blocks(const Image& image, const Inode& inode) {
    const std::uint64_t size = image.block_size();
    if (inode.xattr_block != 0) metadata_.push_back({inode.xattr_block * size, size});
    if (inode.attributes.type == FileType::kSymlink) return;
    BlockMapEvents events;
    events.data = [&](const FileExtent& run) -> Result<void> {
      if (inode.attributes.type != FileType::kDirectory) return {};
      const bool has_root = run.logical == 0 && (inode.flags & layout::inode_flag::kIndexed) != 0;
      if (has_root) DADI_CHECK(add_index_root(image, run.physical));
      const std::uint64_t skipped = has_root ? 1 : 0;
      if (run.count > skipped) metadata_.push_back({(run.physical + skipped) * size, (run.count - skipped) * size});
      return {};
    };
    events.map_block = [&](std::uint64_t block) -> Result<bool> {
      metadata_.push_back({block * size, size});
      return true;
    };
    events.fault = [](Error error) -> Result<void> { return error; };
    ASSERT_TRUE(walk_block_map(image, inode, {}, events));
  }

  // The part of an index's root that its checksum covers: records beyond its count are anything.
  Result<void> add_index_root(const Image& image, std::uint64_t number) {
    DADI_TRY(const auto block, image.read_block(number));
    const std::size_t count = load_le<std::uint16_t>(block, layout::htree::kRootEntries + layout::htree::kCount);
    metadata_.push_back(
        {number * image.block_size(), layout::htree::kRootEntries + count * layout::htree::kRecordSize});
    return {};
  }

  std::uint64_t random_place() {
    const auto& [start, size] = metadata_[random_() % metadata_.size()];
    return start + random_() % size;
  }

  std::mt19937_64 random_{4};
  std::vector<std::pair<std::uint64_t, std::uint64_t>> metadata_;
  std::shared_ptr<MutableDevice> device_;
  ScratchFolder scratch_;
  std::filesystem::path source_ = scratch_.path() / "source";
  std::filesystem::path image_ = scratch_.path() / "image";
};

TEST_F(MutationTest, NoFlippedBitUnderAChecksumGoesUnseen) {
  make(
      "-b 1024 -I 256 -O none,extent,64bit,flex_bg,sparse_super2,large_file,huge_file,dir_nlink,extra_isize,dir_index,"
      "filetype,ext_attr,metadata_csum -E num_backup_sb=0");
  ASSERT_FALSE(HasFatalFailure());
  for (int round = 0; round < 2000; ++round) {
    const std::uint64_t place = random_place();
    const auto bit = static_cast<std::byte>(1U << random_() % 8);
    device_->bytes[place] ^= bit;
    const auto report = check_filesystem(device_);
    // A flip among the features may ask for what is not supported.
    EXPECT_TRUE(report ? !report->sound() : report.error().code() == ErrorCode::kUnsupported)
        << "bit " << std::to_integer<int>(bit) << " of byte " << place;
    device_->bytes[place] ^= bit;
  }
  EXPECT_TRUE(check_filesystem(device_)->sound());
}

TEST_F(MutationTest, RandomBytesInMetadataDoNoHarm) {
  constexpr const char* kOptions[] = {
      "-t ext4 -b 1024 -O ^metadata_csum,^has_journal",
      "-t ext4 -b 1024 -O ^metadata_csum,^has_journal,^extents,^64bit,^flex_bg",
  };
  for (const char* options : kOptions) {
    SCOPED_TRACE(options);
    make(options);
    ASSERT_FALSE(HasFatalFailure());
    const std::vector<std::byte> pristine = device_->bytes;
    for (int round = 0; round < 1500; ++round) {
      std::vector<std::uint64_t> places;
      for (std::uint64_t i = 1 + random_() % 6; i > 0; --i) {
        places.push_back(random_place());
        // Small and extreme values get further than random ones.
        constexpr std::byte kValues[] = {std::byte{0}, std::byte{1}, std::byte{2}, std::byte{0x7F}, std::byte{0xFF}};
        const auto choice = random_() % 8;
        device_->bytes[places.back()] =
            choice < std::size(kValues) ? kValues[choice] : static_cast<std::byte>(random_());
      }
      const auto report = check_filesystem(device_);
      EXPECT_TRUE(report || report.error().code() == ErrorCode::kUnsupported) << report.error().message();
      if (const auto volume = Volume::open(device_)) Walk(**volume).visit(kRootInode);
      for (const std::uint64_t place : places) device_->bytes[place] = pristine[place];
    }
  }
}

}  // namespace
}  // namespace dadi::fs::test
