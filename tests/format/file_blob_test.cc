#include "libformat/blob/file_blob.h"

#include <fcntl.h>
#include <unistd.h>

#include "libformat/base/bytes.h"
#include "tests/format/test_support.h"

namespace dadi {
namespace {

using test::must;

// A file whose bytes are on disk, and where the page cache may be told to forget them.
class FileBlobMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    Random random(1);
    content_ = test::random_bytes(random, 256 << 10);
    must(replace_file(path(), content_));
    blob_ = must(FileBlob::open(path()));
  }
  std::filesystem::path path() const { return folder_.path() / "blob"; }

  using Random = test::Random;
  test::TemporaryFolder folder_;
  test::Data content_;
  std::shared_ptr<const FileBlob> blob_;
};

TEST_F(FileBlobMemory, ReadFromMemoryAloneNeverGivesOtherBytes) {
  test::Data all(content_.size());
  must(blob_->read_at({0}, all, {}));
  test::Data out(4096);
  const auto result = blob_->read_at({8192}, out, {.memory_only = true});
  if (result)  // file systems that cannot tell always would block
    EXPECT_TRUE(std::ranges::equal(out, std::span(content_).subspan(8192, 4096)));
  else
    EXPECT_EQ(result.error().code(), ErrorCode::kWouldBlock);
}

TEST_F(FileBlobMemory, ReadFromMemoryAloneFailsWhereTheDiskWouldBeAsked) {
  ASSERT_EQ(::posix_fadvise(blob_->fd(), 0, 0, POSIX_FADV_DONTNEED), 0);
  test::Data out(content_.size());
  test::expect_error(blob_->read_at({0}, out, {.memory_only = true}), ErrorCode::kWouldBlock, "not in memory");
  must(blob_->read_at({0}, out, {}));
  EXPECT_EQ(out, content_);
}

TEST_F(FileBlobMemory, ReadPastTheEndIsCorruptionFromMemoryToo) {
  test::Data out(1);
  test::expect_error(blob_->read_at({content_.size()}, out, {.memory_only = true}), ErrorCode::kCorruption,
                     "past the end");
}

}  // namespace
}  // namespace dadi
