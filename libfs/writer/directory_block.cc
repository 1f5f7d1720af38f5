#include "libfs/writer/directory_block.h"

#include <algorithm>
#include <cstring>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"

namespace dadi::fs {

namespace {

// struct ext4_dir_entry_2.
enum Offset : std::size_t { kInode = 0, kRecordLength = 4, kNameLength = 6, kType = 7, kName = 8 };
constexpr std::uint8_t kTailType = 0xDE;

}  // namespace

std::size_t DirectoryLeaf::record_length(std::size_t at) const {
  return load_le<std::uint16_t>(block_, at + kRecordLength);
}

void DirectoryLeaf::store(std::size_t at, std::size_t length, const LeafEntry& entry) {
  store_le(block_, at + kInode, entry.inode);
  store_le(block_, at + kRecordLength, static_cast<std::uint16_t>(length));
  store_le(block_, at + kNameLength, static_cast<std::uint8_t>(entry.name.size()));
  store_le(block_, at + kType, entry.type);
  if (!entry.name.empty()) std::memcpy(block_.data() + at + kName, entry.name.data(), entry.name.size());
}

void DirectoryLeaf::clear() {
  std::ranges::fill(block_, std::byte{0});
  last_ = 0;
  store(0, capacity_, {});
  if (capacity_ < kBlockSize) {
    store(capacity_, kTailSize, {});
    store_le(block_, capacity_ + kType, kTailType);
  }
}

Result<void> DirectoryLeaf::visit(const std::function<Result<void>(const LeafEntry&)>& each) const {
  for (std::size_t at = 0; at < capacity_;) {
    const std::size_t length = record_length(at);
    const std::size_t name_length = load_le<std::uint8_t>(block_, at + kNameLength);
    if (length < kName || length % 4 != 0 || length > capacity_ - at || entry_room(name_length) > length)
      return Error::corruption("a directory record at byte {} is damaged", at);
    if (const auto inode = load_le<std::uint32_t>(block_, at + kInode); inode != 0) {
      const std::string_view name = as_text(block_.subspan(at + kName, name_length));
      if (name.empty() || name.find('/') != name.npos || name.find('\0') != name.npos)
        return Error::corruption("a directory record at byte {} has no legal name", at);
      DADI_CHECK(each({name, inode, load_le<std::uint8_t>(block_, at + kType)}));
    }
    at += length;
    if (at < capacity_ && capacity_ - at < kName) return Error::corruption("a directory block ends within a record");
  }
  return {};
}

bool DirectoryLeaf::insert(const LeafEntry& entry) {
  return insert_from(0, entry);
}

bool DirectoryLeaf::append(const LeafEntry& entry) {
  return insert_from(last_, entry);
}

bool DirectoryLeaf::insert_from(std::size_t at, const LeafEntry& entry) {
  const std::size_t needed = entry_room(entry.name.size());
  while (at < capacity_) {
    const std::size_t length = record_length(at);
    const bool in_use = load_le<std::uint32_t>(block_, at + kInode) != 0;
    const std::size_t used = in_use ? entry_room(load_le<std::uint8_t>(block_, at + kNameLength)) : 0;
    if (length - used >= needed) {
      if (in_use) store_le(block_, at + kRecordLength, static_cast<std::uint16_t>(used));
      last_ = at + used;
      store(last_, length - used, entry);
      return true;
    }
    at += length;
  }
  return false;
}

Result<DirectoryLeaf::Found> DirectoryLeaf::find(std::string_view name) const {
  for (std::size_t at = 0, before = 0; at < capacity_; before = at, at += record_length(at)) {
    const std::size_t length = load_le<std::uint8_t>(block_, at + kNameLength);
    if (load_le<std::uint32_t>(block_, at + kInode) != 0 && as_text(block_.subspan(at + kName, length)) == name)
      return Found{at, before};
  }
  return Error::internal("a directory block does not hold \"{}\"", name);
}

Result<void> DirectoryLeaf::remove(std::string_view name) {
  DADI_TRY(const Found found, find(name));
  const std::size_t length = record_length(found.at);
  // What is left of the record must not depend on what was there: the layer's bytes would.
  std::ranges::fill(block_.subspan(found.at, length), std::byte{0});
  if (found.before == found.at)
    store(found.at, length, {});
  else
    store_le(block_, found.before + kRecordLength, static_cast<std::uint16_t>(record_length(found.before) + length));
  return {};
}

Result<void> DirectoryLeaf::retarget(std::string_view name, InodeNumber inode, std::uint8_t type) {
  DADI_TRY(const Found found, find(name));
  store_le(block_, found.at + kInode, inode);
  store_le(block_, found.at + kType, type);
  return {};
}

}  // namespace dadi::fs
