#include "libfs/writer/xattr_area.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"

namespace dadi::fs {

namespace {

constexpr std::uint32_t kMagic = 0xEA020000;
constexpr std::size_t kInodeHeader = 4;   // the magic
constexpr std::size_t kBlockHeader = 32;  // struct ext4_xattr_header
constexpr std::size_t kEntry = 16;        // struct ext4_xattr_entry, before the name
constexpr std::size_t kTerminator = 4;

struct NamedValue {
  std::uint8_t index;  // of the name space
  std::string name;    // without its prefix
  std::string value;

  std::size_t entry_size() const { return round_up(kEntry + name.size(), 4); }
  std::size_t value_size() const { return round_up(value.size(), 4); }
  // The order that a block needs.
  friend bool operator<(const NamedValue& a, const NamedValue& b) {
    return std::forward_as_tuple(a.index, a.name.size(), a.name) <
           std::forward_as_tuple(b.index, b.name.size(), b.name);
  }
};

struct NameSpace {
  std::string_view prefix;
  std::uint8_t index;
};
constexpr std::array<NameSpace, 3> kNameSpaces{{{"user.", 1}, {"trusted.", 4}, {"security.", 6}}};
constexpr std::uint8_t kAclAccess = 2;
constexpr std::uint8_t kAclDefault = 3;

// From version 2 (a version, then tag, permissions and id, 8 bytes each) to ext4's version 1 (entries without an id
// take 4 bytes).
Result<std::string> encode_acl(std::string_view value) {
  constexpr std::uint16_t kUser = 2;
  constexpr std::uint16_t kGroup = 8;
  const auto bytes = as_bytes(value);
  if (bytes.size() < 4 || bytes.size() % 8 != 4 || load_le<std::uint32_t>(bytes, 0) != 2)
    return Error::invalid_argument("a POSIX ACL of {} bytes is malformed", bytes.size());
  std::string encoded("\1\0\0\0", 4);
  for (std::size_t at = 4; at < bytes.size(); at += 8) {
    const auto tag = load_le<std::uint16_t>(bytes, at);
    encoded += value.substr(at, tag == kUser || tag == kGroup ? 8 : 4);
  }
  return encoded;
}

Result<NamedValue> named_value(const std::string& full, const std::string& value) {
  if (full == "system.posix_acl_access" || full == "system.posix_acl_default") {
    DADI_TRY(std::string encoded, encode_acl(value));
    return NamedValue{full.ends_with("access") ? kAclAccess : kAclDefault, "", std::move(encoded)};
  }
  for (const NameSpace& space : kNameSpaces) {
    if (!full.starts_with(space.prefix)) continue;
    std::string name = full.substr(space.prefix.size());
    if (name.empty() || name.size() > 255)
      return Error::unsupported("an extended attribute's name of {} bytes", name.size());
    return NamedValue{space.index, std::move(name), value};
  }
  return Error::unsupported("extended attribute \"{}\": ext4 has no such name space", full);
}

// The hash of name and value that an entry in a block carries.
std::uint32_t entry_hash(const NamedValue& item) {
  std::uint32_t hash = 0;
  for (const char c : item.name) hash = (hash << 5) ^ (hash >> 27) ^ static_cast<unsigned char>(c);
  std::string padded = item.value;
  padded.resize(item.value_size());
  for (std::size_t at = 0; at < padded.size(); at += 4)
    hash = (hash << 16) ^ (hash >> 16) ^ load_le<std::uint32_t>(as_bytes(padded), at);
  return hash;
}

using Items = std::vector<NamedValue>;

std::size_t room_for(const Items& items, std::size_t header) {
  std::size_t room = header + kTerminator;
  for (const NamedValue& item : items) room += item.entry_size() + item.value_size();
  return room;
}

// Entries from `start` on, values from the end of `area` down; offsets of values count from `origin`.
void store(const Items& items, std::span<std::byte> area, std::size_t start, std::size_t origin, bool hashed) {
  std::size_t end = area.size();
  for (const NamedValue& item : items) {
    end -= item.value_size();
    store_le(area, start, static_cast<std::uint8_t>(item.name.size()));
    store_le(area, start + 1, item.index);
    store_le(area, start + 2, static_cast<std::uint16_t>(item.value.empty() ? 0 : end - origin));
    store_le<std::uint32_t>(area, start + 4, 0);
    store_le(area, start + 8, static_cast<std::uint32_t>(item.value.size()));
    store_le(area, start + 12, hashed ? entry_hash(item) : 0);
    std::memcpy(area.data() + start + kEntry, item.name.data(), item.name.size());
    if (!item.value.empty()) std::memcpy(area.data() + end, item.value.data(), item.value.size());
    start += item.entry_size();
  }
}

Block encode_block(const Items& items) {
  Block block{};
  store_le(block, 0, kMagic);
  store_le<std::uint32_t>(block, 4, 1);  // references
  store_le<std::uint32_t>(block, 8, 1);  // blocks
  std::uint32_t hash = 0;
  for (const NamedValue& item : items) hash = (hash << 16) ^ (hash >> 16) ^ entry_hash(item);
  store_le(block, 12, hash);
  store(items, block, kBlockHeader, 0, true);
  return block;
}

std::vector<std::byte> encode_area(const Items& items, std::size_t room) {
  std::vector<std::byte> area(room);
  store_le(std::span(area), 0, kMagic);
  store(items, area, kInodeHeader, kInodeHeader, false);
  return area;
}

}  // namespace

Result<EncodedXattrs> encode_xattrs(const Xattrs& xattrs, std::size_t inode_room) {
  Items items;
  for (const auto& [name, value] : xattrs) {
    DADI_TRY(NamedValue item, named_value(name, value));
    items.push_back(std::move(item));
  }
  std::ranges::sort(items, std::less{});
  EncodedXattrs encoded;
  if (items.empty()) return encoded;
  if (room_for(items, kInodeHeader) <= inode_room) {
    encoded.in_inode = encode_area(items, inode_room);
    return encoded;
  }
  Items inside;
  Items beside;
  if (room_for(items, kBlockHeader) <= kBlockSize) {
    beside = std::move(items);
  } else {
    for (NamedValue& item : items) {  // as many as fit go into the inode
      const std::size_t needed = item.entry_size() + item.value_size();
      const bool fits = room_for(inside, kInodeHeader) + needed <= inode_room;
      (fits ? inside : beside).push_back(std::move(item));
    }
  }
  if (room_for(beside, kBlockHeader) > kBlockSize)
    return Error::unsupported("extended attributes that take {} bytes; ext4 holds {} in a file", room_for(beside, 0),
                              kBlockSize - kBlockHeader);
  if (!inside.empty()) encoded.in_inode = encode_area(inside, inode_room);
  encoded.block = encode_block(beside);
  return encoded;
}

}  // namespace dadi::fs
