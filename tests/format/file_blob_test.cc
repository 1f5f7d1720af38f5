#include "libformat/blob/file_blob.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "libformat/base/bytes.h"
#include "tests/format/test_support.h"

namespace dadi {
namespace {

using test::expect_error;
using test::must;

TEST(FileBlob, RefusesWhatHasNoSizeWithoutWaitingForIt) {
  const test::TemporaryFolder folder;
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto socket = folder.path() / "socket";
  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  ASSERT_LT(socket.native().size(), sizeof(address.sun_path));
  std::strcpy(address.sun_path, socket.c_str());
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  for (const auto& path :
       {pipe, socket, folder.path(), std::filesystem::path("/dev/null"), std::filesystem::path("/dev/zero")})
    expect_error(FileBlob::open(path), ErrorCode::kInvalidArgument, "is not a file or block device");
  expect_error(FileBlob::open(folder.path() / "missing"), ErrorCode::kNotFound, "missing");
}

TEST(FileBlob, ReadsABlockDeviceToItsEnd) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "disk";
  must(replace_file(path, std::vector<std::byte>(5 * 4096, std::byte{7})));
  const test::Outcome attached = test::run("losetup --read-only --find --show " + path.string());
  if (attached.status != 0) GTEST_SKIP() << "no loop devices here: " << attached.output;
  const std::string device = attached.output.substr(0, attached.output.find('\n'));
  {
    const auto blob = must(FileBlob::open(device));
    EXPECT_EQ(blob->size(), Bytes{5 * 4096});
    EXPECT_EQ(test::all_of(*blob), std::vector<std::byte>(5 * 4096, std::byte{7}));
  }
  EXPECT_EQ(test::run("losetup --detach " + device).status, 0);
}

TEST(FileBlob, NoticesThatItsFileWasCutShort) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "file";
  must(replace_file(path, std::vector<std::byte>(100)));
  const auto blob = must(FileBlob::open(path));
  ASSERT_EQ(::truncate(path.c_str(), 50), 0);
  std::vector<std::byte> out(100);
  expect_error(blob->read_at({0}, out, {}), ErrorCode::kIo, "cut short at 50");
  EXPECT_TRUE(blob->read_at({0}, std::span(out).first(50), {}));
}

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
  const auto result = blob_->read_at({8192}, out, {.stop = {}, .memory_only = true});
  if (result)  // file systems that cannot tell always would block
    EXPECT_TRUE(std::ranges::equal(out, std::span(content_).subspan(8192, 4096)));
  else
    EXPECT_EQ(result.error().code(), ErrorCode::kWouldBlock);
}

TEST_F(FileBlobMemory, ReadFromMemoryAloneFailsWhereTheDiskWouldBeAsked) {
  ASSERT_EQ(::posix_fadvise(blob_->fd(), 0, 0, POSIX_FADV_DONTNEED), 0);
  test::Data out(content_.size());
  expect_error(blob_->read_at({0}, out, {.stop = {}, .memory_only = true}), ErrorCode::kWouldBlock, "not in memory");
  must(blob_->read_at({0}, out, {}));
  EXPECT_EQ(out, content_);
}

TEST_F(FileBlobMemory, ReadPastTheEndIsCorruptionFromMemoryToo) {
  test::Data out(1);
  expect_error(blob_->read_at({content_.size()}, out, {.stop = {}, .memory_only = true}), ErrorCode::kCorruption,
               "past the end");
}

}  // namespace
}  // namespace dadi
