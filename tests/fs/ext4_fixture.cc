#include "tests/fs/ext4_fixture.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "libformat/base/bytes.h"

namespace dadi::fs::test {
namespace {

void write_file(const std::filesystem::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::string letters(std::size_t size, unsigned seed) {
  std::minstd_rand random(seed);
  std::string text(size, '\0');
  for (char& letter : text) letter = static_cast<char>('a' + random() % 26);
  return text;
}

// Islands of one block, with holes between them: too many extents for an inode.
void write_islands(const std::filesystem::path& path, int count) {
  std::ofstream file(path, std::ios::binary);
  for (int i = 0; i < count; ++i) {
    file.seekp(static_cast<std::streamoff>(i) * 3 * 4096);
    file << letters(4096, static_cast<unsigned>(i));
  }
}

}  // namespace

const char* const kOwnOptions =
    "-b 4096 -I 256 -i 16384 -m 0 -G 256 -E num_backup_sb=0,lazy_itable_init=1 -O "
    "none,extent,64bit,flex_bg,sparse_super2,large_file,huge_file,dir_nlink,extra_isize,dir_index,filetype,ext_attr,"
    "metadata_csum";

CommandResult run(const std::string& command) {
  const std::string line = "PATH=$PATH:/usr/sbin:/sbin; exec 2>&1; " + command;
  CommandResult result;
  FILE* pipe = ::popen(line.c_str(), "r");
  if (pipe == nullptr) return {.status = 127, .output = "popen failed"};
  char buffer[4096];
  while (const std::size_t size = std::fread(buffer, 1, sizeof buffer, pipe)) result.output.append(buffer, size);
  const int status = ::pclose(pipe);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return result;
}

bool have_e2fsprogs() {
  return run("command -v mke2fs && command -v debugfs && command -v e2fsck").status == 0;
}

ScratchFolder::ScratchFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "dadi-ext4-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) ADD_FAILURE() << "no scratch folder";
  path_ = pattern;
}
ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Result<void> MemoryDevice::read_at(Sectors at, std::span<std::byte> out, const ReadContext&) const {
  if (at > size() || whole_sectors(out) > size() - at) return Error::io("read past the end of the device");
  std::ranges::copy(std::span(bytes_).subspan(to_bytes(at).value, out.size()), out.begin());
  return {};
}
Result<Extent> MemoryDevice::next_extent(Sectors at) const {
  return Extent{.kind = Extent::Kind::kData, .length = size() - at};
}

FileDevice::FileDevice(const std::filesystem::path& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat status = {};
  if (fd_ < 0 || ::fstat(fd_, &status) != 0) ADD_FAILURE() << "cannot open " << path;
  size_ = whole_sectors(Bytes{static_cast<std::uint64_t>(status.st_size)});
}
FileDevice::~FileDevice() {
  ::close(fd_);
}

Result<void> FileDevice::read_at(Sectors at, std::span<std::byte> out, const ReadContext&) const {
  const ssize_t size = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(to_bytes(at).value));
  if (size != static_cast<ssize_t>(out.size())) return Error::io("short read at sector {}", at.value);
  return {};
}
Result<Extent> FileDevice::next_extent(Sectors at) const {
  const off_t begin = static_cast<off_t>(to_bytes(at).value);
  const off_t data = ::lseek(fd_, begin, SEEK_DATA);
  if (data < 0) return Extent{.kind = Extent::Kind::kHole, .length = size_ - at};
  if (data == begin) return Extent{.kind = Extent::Kind::kData, .length = {1}};
  return Extent{.kind = Extent::Kind::kHole, .length = whole_sectors(Bytes{static_cast<std::uint64_t>(data - begin)})};
}

std::vector<std::byte> read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::byte> bytes(std::filesystem::file_size(path));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(file.good()) << path;
  return bytes;
}

void write_bytes(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(file.flush().good()) << path;
}

void fill_source_folder(const std::filesystem::path& folder) {
  namespace stdfs = std::filesystem;
  stdfs::create_directories(folder / "etc");
  write_file(folder / "etc/one", letters(100, 1));
  write_file(folder / "etc/other", letters(5000, 2));
  write_file(folder / "etc/attributes", "x");
  write_file(folder / "etc/shared", "y");
  write_file(folder / "etc/empty", "");
  write_file(folder / "etc" / std::string(255, 'n'), "a name of 255 bytes");
  write_file(folder / "etc/odd \xff\xfe name", "not UTF-8");
  stdfs::create_hard_link(folder / "etc/one", folder / "etc/one more");
  stdfs::create_symlink("one", folder / "etc/short");
  stdfs::create_symlink(letters(59, 3), folder / "etc/longest-short");
  stdfs::create_symlink(letters(60, 4), folder / "etc/shortest-long");
  stdfs::create_symlink(letters(900, 5), folder / "etc/long");
  stdfs::create_symlink("/etc", folder / "absolute");
  stdfs::create_symlink("../../../../etc/../etc/one", folder / "etc/upwards");
  stdfs::create_symlink("loop", folder / "loop");

  std::filesystem::path deep = folder / "deep";
  for (int i = 0; i < 12; ++i) deep /= "level" + std::to_string(i);
  stdfs::create_directories(deep);

  stdfs::create_directory(folder / "large");
  for (unsigned i = 0; i < 800; ++i)
    write_file(folder / "large" / (std::to_string(i) + "-" + letters(180, i)), std::to_string(i));

  write_islands(folder / "islands", 60);
  write_file(folder / "blob", letters(700'000, 6));
  ::chmod((folder / "blob").c_str(), 04711);
}

void fill_small_source_folder(const std::filesystem::path& folder) {
  namespace stdfs = std::filesystem;
  write_file(folder / "file", letters(3000, 7));
  stdfs::create_hard_link(folder / "file", folder / "link");
  stdfs::create_symlink("file", folder / "short");
  stdfs::create_symlink(letters(200, 8), folder / "long");
  stdfs::create_directories(folder / "a/b/c");
  stdfs::create_directory(folder / "large");
  for (unsigned i = 0; i < 60; ++i) write_file(folder / "large" / (std::to_string(i) + letters(120, i)), "");
  write_islands(folder / "islands", 30);
}

void make_image(const ImageRecipe& recipe, const std::filesystem::path& source, const std::filesystem::path& image) {
  const std::string at = image.string();
  std::filesystem::remove(image);
  const CommandResult made =
      run("mke2fs -q -F " + recipe.options + " -d " + source.string() + " " + at + " " + recipe.size);
  ASSERT_EQ(made.status, 0) << made.output;
  if (!recipe.debugfs.empty()) {
    const std::string script = at + ".debugfs";
    std::ofstream(script) << recipe.debugfs;
    const CommandResult edited = run("debugfs -w -f " + script + " " + at);
    ASSERT_EQ(edited.status, 0) << edited.output;
  }
  if (recipe.index_directories) {
    const CommandResult indexed = run("e2fsck -fyD " + at);
    ASSERT_LE(indexed.status, 1) << indexed.output;
  }
  const Verdict checked = e2fsck(image);
  ASSERT_TRUE(checked.is_clean) << checked.output;
}

Verdict e2fsck(const std::filesystem::path& image) {
  CommandResult checked = run("e2fsck -fn " + image.string());
  const bool complains =
      checked.output.find("? no") != std::string::npos || checked.output.find("look bad") != std::string::npos;
  return {.is_clean = checked.status == 0 && !complains, .output = std::move(checked.output)};
}

Inode inode_at(const Volume& volume, std::string_view path) {
  auto inode = volume.resolve(path, false);
  if (inode) return *inode;
  ADD_FAILURE() << path << ": " << inode.error().message();
  return {};
}

}  // namespace dadi::fs::test
