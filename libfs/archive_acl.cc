#include "libfs/archive_acl.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <vector>

#include "libformat/base/endian.h"
#include "libfs/archive_text.h"

namespace dadi::fs {

namespace {

constexpr std::uint32_t kVersion = 2;
constexpr std::uint32_t kNobody = std::numeric_limits<std::uint32_t>::max();  // the id of entries that name none

enum Tag : std::uint16_t {
  kOwner = 0x01,
  kUser = 0x02,
  kOwningGroup = 0x04,
  kGroup = 0x08,
  kMask = 0x10,
  kOther = 0x20,
};

// In the order that the kernel asks of the attribute: by tag, then by id.
struct AclEntry {
  Tag tag;
  std::uint32_t id;
  std::uint16_t permissions;

  friend auto operator<=>(const AclEntry&, const AclEntry&) = default;
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

// The part of `text` up to `separator`, which goes away with it.
std::string_view take_until(std::string_view& text, std::string_view separators) {
  const std::size_t end = std::min(text.find_first_of(separators), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

std::optional<std::uint32_t> parse_id(std::string_view text) {
  std::uint32_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || id == kNobody) return std::nullopt;
  return id;
}

std::optional<std::uint16_t> parse_permissions(std::string_view text) {
  unsigned permissions = 0;
  for (const char c : text) {
    if (c == 'r') permissions |= 4U;
    if (c == 'w') permissions |= 2U;
    if (c == 'x') permissions |= 1U;
    if (std::string_view("rwx-").find(c) == std::string_view::npos) return std::nullopt;
  }
  return text.empty() ? std::nullopt : std::optional(static_cast<std::uint16_t>(permissions));
}

std::optional<Tag> parse_tag(std::string_view word, bool named) {
  if (word == "user" || word == "u") return named ? kUser : kOwner;
  if (word == "group" || word == "g") return named ? kGroup : kOwningGroup;
  if (named) return std::nullopt;
  if (word == "mask" || word == "m") return kMask;
  if (word == "other" || word == "o") return kOther;
  return std::nullopt;
}

// "tag:name:permissions" or "tag:name:permissions:number"; of mask and other the empty name may be left out.
Result<AclEntry> parse_entry(std::string_view text) {
  std::string_view rest = text;
  const std::string_view word = trimmed(take_until(rest, ":"));
  const bool short_form = rest.find(':') == std::string_view::npos;
  const std::string_view name = short_form ? std::string_view() : trimmed(take_until(rest, ":"));
  const auto permissions = parse_permissions(trimmed(take_until(rest, ":")));
  const auto tag = parse_tag(word, !name.empty());
  if (!tag || !permissions || (short_form && *tag != kMask && *tag != kOther))
    return Error::corruption("a malformed ACL entry, {}", in_quotes(text));
  if (name.empty()) return AclEntry{*tag, kNobody, *permissions};
  const auto id = rest.empty() ? parse_id(name) : parse_id(trimmed(rest));
  if (!id) return Error::unsupported("the ACL entry {} names its user or group without a number", in_quotes(text));
  return AclEntry{*tag, *id, *permissions};
}

Result<void> check_entries(const std::vector<AclEntry>& entries) {
  const auto count = [&](Tag tag) { return std::ranges::count(entries, tag, &AclEntry::tag); };
  const auto same = [](const AclEntry& a, const AclEntry& b) { return a.tag == b.tag && a.id == b.id; };
  if (std::ranges::adjacent_find(entries, same) != entries.end()) return Error::corruption("an ACL entry twice");
  if (count(kOwner) == 0 || count(kOwningGroup) == 0 || count(kOther) == 0)
    return Error::corruption("an ACL without entries for the owner, the group and others");
  if (count(kUser) + count(kGroup) > 0 && count(kMask) == 0) return Error::corruption("an ACL without a mask");
  return {};
}

std::string encode(const std::vector<AclEntry>& entries) {
  constexpr std::size_t kHeaderSize = 4;
  constexpr std::size_t kEntrySize = 8;
  std::vector<std::byte> value(kHeaderSize + kEntrySize * entries.size());
  store_le<std::uint32_t>(value, 0, kVersion);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::size_t at = kHeaderSize + kEntrySize * i;
    store_le<std::uint16_t>(value, at, entries[i].tag);
    store_le<std::uint16_t>(value, at + 2, entries[i].permissions);
    store_le<std::uint32_t>(value, at + 4, entries[i].id);
  }
  return {reinterpret_cast<const char*>(value.data()), value.size()};
}

}  // namespace

Result<std::optional<std::string>> posix_acl_from_text(std::string_view text, bool keep_minimal) {
  std::vector<AclEntry> entries;
  while (!text.empty()) {
    std::string_view entry = take_until(text, ",\n");
    entry = trimmed(entry.substr(0, entry.find('#')));
    if (entry.starts_with("default:")) entry.remove_prefix(8);
    if (entry.empty()) continue;
    DADI_TRY(const AclEntry parsed, parse_entry(entry));
    entries.push_back(parsed);
  }
  if (entries.empty()) return std::nullopt;
  std::ranges::sort(entries);
  DADI_CHECK(check_entries(entries));
  const bool minimal = entries.size() == 3;
  if (minimal && !keep_minimal) return std::nullopt;
  return encode(entries);
}

}  // namespace dadi::fs
