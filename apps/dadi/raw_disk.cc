#include "apps/dadi/raw_disk.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <string_view>

#include "apps/dadi/child_command.h"
#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"

namespace dadi {
namespace {

constexpr std::size_t kHeadSize = 512;  // what formats are told by

Result<std::array<std::byte, kHeadSize>> head_of(const BlobReader& file) {
  std::array<std::byte, kHeadSize> head{};
  const std::size_t size = std::min<std::uint64_t>(kHeadSize, file.size().value);
  DADI_CHECK(file.read_at({0}, std::span(head).first(size)));
  return head;
}

template <typename T>
T load_be(std::span<const std::byte> data, std::size_t offset) {
  T value = 0;
  for (const std::byte byte : data.subspan(offset, sizeof value)) value = static_cast<T>(value << 8U) | T(byte);
  return value;
}

// What such an image does not have in itself it may take from any file that its maker could name.
Result<void> check_qcow2(std::span<const std::byte> head) {
  constexpr std::size_t kVersion = 4;
  constexpr std::size_t kBackingFile = 8;    // where its name is
  constexpr std::size_t kIncompatible = 72;  // features, from version 3 on
  constexpr std::uint64_t kDataFile = 4;
  if (load_be<std::uint64_t>(head, kBackingFile) != 0)
    return Error::unsupported("a QCOW2 image that needs another file, its backing file")
        .with_hint("make one of both, if you trust them: qemu-img convert -O raw FILE disk.img");
  if (load_be<std::uint32_t>(head, kVersion) >= 3 && (load_be<std::uint64_t>(head, kIncompatible) & kDataFile) != 0)
    return Error::unsupported("a QCOW2 image whose data is in another file")
        .with_hint("make one of both, if you trust them: qemu-img convert -O raw FILE disk.img");
  return {};
}

struct Signature {
  std::uint64_t offset;
  std::string_view bytes;
  std::string_view name;
};

}  // namespace

Result<std::unique_ptr<RawDisk>> RawDisk::open(const std::filesystem::path& path) {
  DADI_TRY(auto file, FileBlob::open(path));
  if (file->size().value == 0) return Error::unsupported("{} is empty", path.string());
  return std::unique_ptr<RawDisk>(new RawDisk(std::move(file)));
}

Result<void> RawDisk::read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const {
  if (at > size() || whole_sectors(out) > size() - at)
    return Error::io("{} sectors at sector {} reach past the disk's end, {}", whole_sectors(out).value, at.value,
                     size().value);
  const Bytes there = std::min(Bytes{out.size()}, file_->size() - to_bytes(at));
  std::ranges::fill(out.subspan(there.value), std::byte{0});
  return file_->read_at(to_bytes(at), out.first(there.value), context);
}

// Of a block device, or where the file system cannot tell, everything is data.
Result<Extent> RawDisk::next_extent(Sectors at) const {
  const Extent rest{Extent::Kind::kData, size() - at};
  const off_t here = static_cast<off_t>(to_bytes(at).value);
  const off_t data = ::lseek(file_->fd(), here, SEEK_DATA);
  if (data < 0) return errno == ENXIO ? Extent{Extent::Kind::kHole, rest.length} : rest;
  if (const Sectors begin = whole_sectors(Bytes{static_cast<std::uint64_t>(data)}); begin > at)
    return Extent{Extent::Kind::kHole, begin - at};
  const off_t hole = ::lseek(file_->fd(), here, SEEK_HOLE);
  if (hole < 0) return rest;
  const Sectors end{divide_up(static_cast<std::uint64_t>(hole), kSectorSize)};
  return Extent{Extent::Kind::kData, std::clamp(end - at, Sectors{1}, rest.length)};
}

Result<std::string> disk_format(const std::filesystem::path& path) {
  DADI_TRY(const auto file, FileBlob::open(path));
  DADI_TRY(const auto head, head_of(*file));
  const auto begins = [&](std::string_view bytes, std::size_t offset = 0) {
    return as_text(head).substr(offset, bytes.size()) == bytes;
  };
  if (begins("QFI\xfb")) {
    if (load_be<std::uint32_t>(head, 4) < 2) return Error::unsupported("a QCOW image of version 1");
    DADI_CHECK(check_qcow2(head));
    return "qcow2";
  }
  if (begins("vhdxfile")) return "vhdx";
  if (begins("conectix")) return "vpc";
  if (begins("\x7f\x10\xda\xbe", 64)) return "vdi";
  if (begins("KDMV") || begins("COWD") || begins("# Disk DescriptorFile"))
    return Error::unsupported("a VMDK image, which may name other files")
        .with_hint("if you trust it: qemu-img convert -O raw FILE disk.img");
  return "";
}

Result<void> convert_to_raw(const std::filesystem::path& path, const std::string& format,
                            const std::filesystem::path& raw, const std::stop_token& stop) {
  constexpr int kNotFound = 127;  // of a shell: no such command
  constexpr int kPatience = 100;  // milliseconds between looks
  const std::filesystem::path said = raw.string() + ".said";
  // An absolute path is no option and none of qemu's protocols, whatever its characters.
  DADI_TRY(auto child,
           ChildCommand::start(R"(exec qemu-img convert -f "$format" -O raw "$source" "$target" >"$said" 2>&1)",
                               {{"format", format},
                                {"source", std::filesystem::absolute(path).string()},
                                {"target", std::filesystem::absolute(raw).string()},
                                {"said", std::filesystem::absolute(said).string()}}));
  pollfd ended{child.fd(), POLLIN, 0};
  while (::poll(&ended, 1, kPatience) <= 0) {
    if (stop.stop_requested()) child.terminate();
  }
  const int status = child.wait();
  if (stop.stop_requested()) return Error::cancelled("stopped");
  if (status == kNotFound)
    return Error::host_lacks("qemu-img, which reads {} images, is not installed", format)
        .with_hint("install it (Debian: qemu-utils), or give a raw image");
  if (status == 0) return {};
  constexpr std::uint64_t kMost = 500;
  std::string words = fmt::format("exit status {}", status);
  if (const auto file = FileBlob::open(said); file && (*file)->size().value > 0) {
    const auto text = read_range(**file, {0}, std::min(Bytes{kMost}, (*file)->size()));
    if (text) words = std::string(as_text(*text));
    while (words.ends_with('\n')) words.pop_back();
  }
  return Error::corruption("qemu-img: {}", words);
}

Result<std::string> other_file_system(const BlockReader& device, const ReadContext& context) {
  static constexpr std::array kKnown = {Signature{0, "XFSB", "xfs"}, Signature{3, "NTFS    ", "ntfs"},
                                        Signature{1024, "\xe2\xe1\xf5\xe0", "erofs"},
                                        Signature{0x10040, "_BHRfS_M", "btrfs"}};
  std::array<std::byte, kSectorSize> sector{};
  for (const Signature& known : kKnown) {
    const Sectors at = whole_sectors(Bytes{known.offset});
    if (at >= device.size()) continue;
    DADI_CHECK(device.read_at(at, sector, context));
    if (as_text(sector).substr(known.offset % kSectorSize, known.bytes.size()) == known.bytes)
      return std::string(known.name);
  }
  return std::string();
}

}  // namespace dadi
