// A damaged ext4 file system, as check, ls and cat meet it.
// Input: a byte of bits that choose a file system, then what is written where: a byte that picks a block which is not
// all zeros, an offset in it, how many bytes, and the bytes.
// Holds: the verifier reports, whatever there is; what it calls sound can be walked and read, and, of a sample, e2fsck
// calls it sound too.
#include <unordered_set>

#include "libformat/base/endian.h"
#include "libfs/check/check.h"
#include "libfs/ext4/checksum.h"
#include "libfs/ext4/listed_files.h"
#include "libfs/ext4/volume.h"
#include "tests/fuzz/e2fsck.h"
#include "tests/fuzz/ext4_draft.h"

namespace dadi::fuzz {
namespace {

constexpr unsigned kSealSuperblock = 4;  // bits 0 and 1 choose the kind
constexpr std::size_t kUnit = 1024;      // of places: no file system has smaller blocks
constexpr std::size_t kSuperblockSize = 1024;

struct Pristine {
  explicit Pristine(Ext4Kind kind) : device(std::make_shared<MemoryDevice>(draft_ext4(kind))) {
    const auto report = must(fs::check_filesystem(device), "a pristine file system is checked");
    if (!report.sound()) fail("a pristine file system: " + report.faults[0].place + ": " + report.faults[0].text);
    for (std::size_t at = 0; at < device->bytes.size(); at += kUnit) {
      if (!all_zero(std::span(device->bytes).subspan(at, kUnit))) places.push_back(at);
    }
  }

  std::shared_ptr<MemoryDevice> device;
  std::vector<std::size_t> places;
};

Pristine& pristine(std::size_t kind) {
  static std::array<Pristine, kExt4Kinds> all{Pristine(Ext4Kind::kPlanned), Pristine(Ext4Kind::kUnchecked),
                                              Pristine(Ext4Kind::kIndirect), Pristine(Ext4Kind::kExtents)};
  return all[kind];
}

// Writes to a device, and undoes it.
class Damage {
 public:
  Damage(Pristine& target, Input& input, bool seal) : bytes_(target.device->bytes) {
    while (!input.empty()) {
      const std::size_t place = target.places[input.number<std::uint16_t>() % target.places.size()];
      const std::size_t at = place + input.number<std::uint16_t>() % kUnit;
      write(at, input.bytes(1 + input.byte() % 16));
    }
    if (!seal) return;
    std::array<std::byte, 4> sum;
    const auto raw = std::span(bytes_).subspan(kSuperblockSize, kSuperblockSize);
    store_le(std::span(sum), 0, fs::checksum::superblock(raw));
    write(2 * kSuperblockSize - sum.size(), sum);
  }
  ~Damage() {
    for (auto old = old_.rbegin(); old != old_.rend(); ++old) bytes_[old->first] = old->second;
  }
  Damage(const Damage&) = delete;
  Damage& operator=(const Damage&) = delete;

 private:
  void write(std::size_t at, std::span<const std::byte> bytes) {
    for (std::size_t i = 0; i < bytes.size() && at + i < bytes_.size(); ++i) {
      old_.emplace_back(at + i, bytes_[at + i]);
      bytes_[at + i] = bytes[i];
    }
  }

  std::vector<std::byte>& bytes_;
  std::vector<std::pair<std::size_t, std::byte>> old_;
};

// Goes through everything that can be reached, as ls -R and cat do; within reason.
class Walk {
 public:
  explicit Walk(const fs::Volume& volume) : volume_(volume) {}

  // The first error, if any.
  Result<void> all() {
    note(volume_.resolve("/d/h/../../s", true));
    note(volume_.resolve("loop", true));
    visit(fs::kRootInode);
    return first_ ? Result<void>(*first_) : Result<void>();
  }

 private:
  template <typename T>
  bool note(const Result<T>& result) {
    if (!result && !first_ && result.error().code() == ErrorCode::kCorruption) first_ = result.error();
    return result.has_value();
  }

  void visit(fs::InodeNumber number) {
    constexpr std::size_t kMost = 500;
    if (seen_.size() >= kMost || !seen_.insert(number).second) return;
    const auto inode = volume_.inode(number);
    if (!note(inode)) return;
    note(volume_.xattrs(*inode));
    if (inode->attributes.type == fs::FileType::kSymlink) note(volume_.read_link(*inode));
    if (inode->attributes.type == fs::FileType::kRegular) read(*inode);
    if (inode->attributes.type != fs::FileType::kDirectory) return;
    note(volume_.extents(*inode));
    const auto entries = volume_.list(*inode);
    if (!note(entries)) return;
    if (!entries->empty()) note(volume_.lookup(*inode, entries->back().name));
    for (const fs::DirectoryEntry& entry : *entries) {
      require(!entry.name.empty() && entry.name.find('/') == std::string::npos, "a name is one");
      visit(entry.inode);
    }
  }

  void read(const fs::Inode& file) {
    constexpr std::uint64_t kPiece = 8192;
    std::vector<std::byte> piece(std::min(file.size.value, kPiece));
    if (note(volume_.extents(file))) {
      const bool first = note(volume_.read(file, {0}, piece));
      const bool last = note(volume_.read(file, {file.size.value - piece.size()}, piece));
      require(file.size.value > kPiece || first == last, "a read is sound or not");
    }
  }

  const fs::Volume& volume_;
  std::optional<Error> first_;
  std::unordered_set<fs::InodeNumber> seen_;
};

void check_and_walk(const std::shared_ptr<MemoryDevice>& device, bool with_e2fsck) {
  const auto report = fs::check_filesystem(device);
  if (!report)
    require(report.error().code() == ErrorCode::kUnsupported || report.error().code() == ErrorCode::kExhausted,
            "damage is reported, not an error: " + report.error().message());
  const auto volume = fs::Volume::open(device);
  const bool sound = report && report->sound();
  if (!volume) {
    if (sound) fail("a sound file system does not open: " + volume.error().message());
    return;
  }
  const auto walked = Walk(**volume).all();
  const auto listed = fs::find_listed_files(device, "**/../*/[!a]*\n/**/?/**/*\n/\n");
  if (sound && !listed) fail("lists of files are not found in a sound file system: " + listed.error().message());
  if (!sound) return;
  if (!walked) fail("a sound file system is not read: " + walked.error().message());
  if (!with_e2fsck) return;
  const auto is_stale = [](const fs::CheckFinding& note) { return note.text.find("is stale") != std::string::npos; };
  const std::string complaint = e2fsck(*device, std::ranges::any_of(report->notes, is_stale));
  if (!complaint.empty()) fail(complaint);
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi::fuzz;
  Input input(data, size);
  const unsigned bits = input.byte();
  Pristine& target = pristine(bits % kExt4Kinds);
  const Damage damage(target, input, (bits & kSealSuperblock) != 0);
  check_and_walk(target.device, is_for_e2fsck(std::as_bytes(std::span(data, size))));
  return 0;
}
