#include "runtime/attach/ext4_marks.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "libformat/base/endian.h"
#include "libformat/base/unique_fd.h"

namespace dadi::attach {
namespace {

constexpr off_t kSuperblock = 1024;
constexpr std::size_t kSuperblockSize = 1024;
constexpr std::size_t kBlockCountLow = 4;  // offsets in it
constexpr std::size_t kLogBlockSize = 24;
constexpr std::size_t kMagic = 56;
constexpr std::size_t kState = 58;
constexpr std::size_t kCompatible = 92;
constexpr std::size_t kIncompatible = 96;
constexpr std::size_t kBlockCountHigh = 336;
constexpr std::uint16_t kMagicOfExt4 = 0xef53;
constexpr std::uint16_t kUnmounted = 1;            // of the state
constexpr std::uint16_t kFaulty = 2;               //
constexpr std::uint32_t kHasJournal = 1U << 2;     // of the compatible features
constexpr std::uint32_t kJournalInUse = 1U << 2;   // of the incompatible features: mounted, or not unmounted
constexpr std::uint32_t k64Bit = 1U << 7;          //
constexpr std::uint32_t kLargestLogBlockSize = 6;  // 64 KiB

Bytes size_of(const std::array<std::byte, kSuperblockSize>& block) {
  const auto shift = load_le<std::uint32_t>(block, kLogBlockSize);
  if (shift > kLargestLogBlockSize) return {};
  std::uint64_t blocks = load_le<std::uint32_t>(block, kBlockCountLow);
  if ((load_le<std::uint32_t>(block, kIncompatible) & k64Bit) != 0)
    blocks |= std::uint64_t{load_le<std::uint16_t>(block, kBlockCountHigh)} << 32;  // 48 bits are all that extents have
  return {blocks << (10 + shift)};
}

}  // namespace

Result<std::optional<Ext4Marks>> read_ext4_marks(const std::string& device) {
  const UniqueFd fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(errno, "open " + device);
  std::array<std::byte, kSuperblockSize> block;
  const ssize_t n = ::pread(fd.get(), block.data(), block.size(), kSuperblock);
  if (n < 0) return Error::from_errno(errno, "read " + device);
  if (n != kSuperblockSize || load_le<std::uint16_t>(block, kMagic) != kMagicOfExt4) return std::optional<Ext4Marks>();
  const auto state = load_le<std::uint16_t>(block, kState);
  const auto incompatible = load_le<std::uint32_t>(block, kIncompatible);
  return std::optional(
      Ext4Marks{.unclean = (state & kUnmounted) == 0 || (state & kFaulty) != 0 || (incompatible & kJournalInUse) != 0,
                .has_journal = (load_le<std::uint32_t>(block, kCompatible) & kHasJournal) != 0,
                .size = size_of(block)});
}

}  // namespace dadi::attach
