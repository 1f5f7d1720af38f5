#include "libfs/ext4/xattr.h"

#include <array>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"
#include "libformat/base/units.h"
#include "libfs/ext4/inode.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

namespace field = layout::xattr;

constexpr std::uint8_t kAccessAcl = 2;
constexpr std::uint8_t kDefaultAcl = 3;

// Both forms of a POSIX ACL begin with their version. Stored: entries of tag and permissions, and of an id only for
// named users and groups. In an attribute's value: an id in every entry.
constexpr std::uint32_t kStoredAclVersion = 1;
constexpr std::uint32_t kValueAclVersion = 2;
constexpr std::uint16_t kNamedUser = 0x02;
constexpr std::uint16_t kNamedGroup = 0x08;
constexpr std::uint32_t kNoId = 0xFFFFFFFF;

template <typename T>
void append(std::string& text, T value) {
  std::array<std::byte, sizeof(T)> bytes;
  store_le<T>(bytes, 0, value);
  text += as_text(bytes);
}

Result<std::string> expand_acl(std::span<const std::byte> stored) {
  const Error malformed = Error::corruption("a malformed access control list of {} bytes", stored.size());
  if (stored.size() < 4 || load_le<std::uint32_t>(stored, 0) != kStoredAclVersion) return malformed;
  std::string value;
  append<std::uint32_t>(value, kValueAclVersion);
  for (auto rest = stored.subspan(4); !rest.empty();) {
    if (rest.size() < 4) return malformed;
    const auto tag = load_le<std::uint16_t>(rest, 0);
    const std::size_t size = tag == kNamedUser || tag == kNamedGroup ? 8 : 4;
    if (rest.size() < size) return malformed;
    append<std::uint16_t>(value, tag);
    append<std::uint16_t>(value, load_le<std::uint16_t>(rest, 2));
    append<std::uint32_t>(value, size == 8 ? load_le<std::uint32_t>(rest, 4) : kNoId);
    rest = rest.subspan(size);
  }
  return value;
}

}  // namespace

Result<std::size_t> walk_xattrs(std::span<const std::byte> area, std::size_t first,
                                const std::function<Result<void>(const RawXattr&)>& visit) {
  std::size_t offset = first;
  while (true) {
    const auto rest = area.subspan(offset);
    if (rest.size() < 4) return Error::corruption("xattrs: the list of entries has no end");
    if (load_le<std::uint32_t>(rest, 0) == 0) return offset + 4;
    const std::size_t name_length = load_le<std::uint8_t>(rest, field::kNameLength);
    const std::size_t size = round_up(field::kEntrySize + name_length, 4);
    if (size > rest.size()) return Error::corruption("xattrs: the entry at {} reaches past the end", offset);

    RawXattr xattr;
    xattr.name_index = load_le<std::uint8_t>(rest, field::kNameIndex);
    xattr.suffix = as_text(rest.subspan(field::kEntrySize, name_length));
    xattr.value_inode = load_le<std::uint32_t>(rest, field::kValueInode);
    xattr.hash = load_le<std::uint32_t>(rest, field::kHash);
    const std::size_t value_size = load_le<std::uint32_t>(rest, field::kValueSize);
    if (xattr.value_inode == 0 && value_size != 0) {
      xattr.value_offset = load_le<std::uint16_t>(rest, field::kValueOffset);
      if (xattr.value_offset > area.size() || value_size > area.size() - xattr.value_offset)
        return Error::corruption("xattrs: a value of {} bytes at {} reaches past the end", value_size,
                                 xattr.value_offset);
      xattr.value = area.subspan(xattr.value_offset, value_size);
    }
    DADI_CHECK(visit(xattr));
    offset += size;
  }
}

std::span<const std::byte> inode_xattr_area(std::span<const std::byte> raw_inode) {
  const auto rest = raw_inode.subspan(inode_fields_size(raw_inode));
  const bool has_extra =
      raw_inode.size() > layout::inode::kSmallSize && load_le<std::uint16_t>(raw_inode, layout::inode::kExtraSize) != 0;
  if (!has_extra || rest.size() < field::kInodeHeaderSize + 4) return {};
  if (load_le<std::uint32_t>(rest, field::kMagic) != field::kMagicValue) return {};
  return rest.subspan(field::kInodeHeaderSize);
}

std::optional<std::string> xattr_block_problem(std::span<const std::byte> block) {
  if (const auto magic = load_le<std::uint32_t>(block, field::kMagic); magic != field::kMagicValue)
    return fmt::format("magic {:#010x}", magic);
  if (const auto blocks = load_le<std::uint32_t>(block, field::kBlocks); blocks != 1)
    return fmt::format("a size of {} blocks", blocks);
  return std::nullopt;
}

std::uint32_t xattr_hash(std::string_view suffix, std::span<const std::byte> value, bool is_signed) {
  std::uint32_t hash = 0;
  for (const char letter : suffix) {
    const auto byte = static_cast<unsigned char>(letter);
    const auto term = is_signed ? static_cast<std::uint32_t>(static_cast<signed char>(byte)) : std::uint32_t{byte};
    hash = hash << 5 ^ hash >> 27 ^ term;
  }
  for (std::size_t i = 0; i < value.size(); i += 4) {
    std::array<std::byte, 4> word = {};
    std::ranges::copy(value.subspan(i, std::min<std::size_t>(4, value.size() - i)), word.begin());
    hash = hash << 16 ^ hash >> 16 ^ load_le<std::uint32_t>(word, 0);
  }
  return hash;
}

std::optional<std::string> xattr_name(std::uint8_t name_index, std::string_view suffix) {
  const auto with = [&](std::string_view prefix) { return std::string(prefix).append(suffix); };
  switch (name_index) {
    case 1:
      return with("user.");
    case kAccessAcl:
      return with("system.posix_acl_access");
    case kDefaultAcl:
      return with("system.posix_acl_default");
    case 4:
      return with("trusted.");
    case 6:
      return with("security.");
    case 7:
      return with("system.");
    case 8:
      return with("system.richacl");
    default:
      return std::nullopt;
  }
}

Result<std::string> xattr_value(std::uint8_t name_index, std::span<const std::byte> stored) {
  if (name_index == kAccessAcl || name_index == kDefaultAcl) return expand_acl(stored);
  return std::string(as_text(stored));
}

}  // namespace dadi::fs
