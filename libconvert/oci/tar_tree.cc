// Sources of the format: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; the GNU tar manual,
// "Basic Tar Format".
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "libconvert/oci/file_tree.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/memory_blob.h"

namespace dadi::oci {

namespace {

constexpr std::size_t kBlock = 512;
constexpr Bytes kExtensionLimit{1 << 20};      // of a pax header or a GNU long name
constexpr std::size_t kNamesLimit = 64 << 20;  // of all names and link targets together
constexpr int kMaxLinks = 8;                   // from a member to the file that it means

std::string_view field(std::span<const std::byte> header, std::size_t offset, std::size_t size) {
  const std::string_view text = as_text(header.subspan(offset, size));
  return text.substr(0, text.find('\0'));
}

// Octal digits, or the base-256 form that GNU tar and Go use for large values. None: malformed, or 2^63 and above.
std::optional<std::uint64_t> number(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  if ((bytes[0] & std::byte{0x80}) != std::byte{0}) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (value >> 55 != 0) return std::nullopt;
      const unsigned byte = std::to_integer<unsigned>(bytes[i]);
      value = value << 8 | (i == 0 ? byte & 0x7F : byte);
    }
    return value;
  }
  std::string_view text = as_text(bytes);
  text = text.substr(0, text.find('\0'));
  const std::size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return 0;
  text = text.substr(first, text.find_last_not_of(' ') + 1 - first);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (error != std::errc{} || end != text.data() + text.size() || value >> 63 != 0) return std::nullopt;
  return value;
}

bool checksum_holds(std::span<const std::byte> header) {
  const auto stated = number(header.subspan(148, 8));
  std::uint64_t sum = 8 * ' ';
  for (std::size_t i = 0; i < kBlock; ++i)
    if (i < 148 || i >= 156) sum += std::to_integer<std::uint64_t>(header[i]);
  return stated == sum;
}

// "a/./b//c/" as "a/b/c"; ".." is resolved. None: it leads out of the archive.
std::optional<std::string> plain_name(std::string_view name) {
  std::string result;
  while (!name.empty()) {
    const std::size_t slash = std::min(name.find('/'), name.size());
    const std::string_view part = name.substr(0, slash);
    name.remove_prefix(std::min(slash + 1, name.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (result.empty()) return std::nullopt;
      const std::size_t parent = result.rfind('/');
      result.resize(parent == std::string::npos ? 0 : parent);
      continue;
    }
    if (!result.empty()) result += '/';
    result += part;
  }
  return result;
}

// What a file that is no tar archive is, as far as people send such.
Result<void> require_uncompressed(std::span<const std::byte> start) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kMagics{{{"\x1f\x8b", "gzip -d"},
                                                                                  {"\x28\xb5\x2f\xfd", "zstd -d"},
                                                                                  {"\xfd"
                                                                                   "7zXZ",
                                                                                   "xz -d"},
                                                                                  {"BZh", "bzip2 -d"}}};
  for (const auto& [magic, program] : kMagics)
    if (as_text(start).starts_with(magic))
      return Error::unsupported("a compressed archive, which cannot be read in place")
          .with_hint("decompress it first, with {}", program);
  return {};
}

}  // namespace

// One pass over the headers.
class TarTree::Walk {
 public:
  explicit Walk(const BlobReader& archive) : archive_(archive) {}

  Result<Members> run() {
    std::array<std::byte, kBlock> header{};
    while (position_ != archive_.size()) {
      if ((archive_.size() - position_).value < kBlock) return cut_short();
      DADI_CHECK(archive_.read_at(position_, header, {}));
      if (all_zero(header)) break;
      if (!checksum_holds(header)) {
        if (position_ == Bytes{0}) DADI_CHECK(require_uncompressed(header));
        return Error::corruption("not a tar header at byte {}", position_.value);
      }
      position_ += Bytes{kBlock};
      DADI_CHECK(entry(header));
    }
    return std::move(members_);
  }

 private:
  Error cut_short() const { return Error::corruption("the archive is cut short at byte {}", archive_.size().value); }

  // One header and its payload. REQUIRES: position_ is behind the header.
  Result<void> entry(std::span<const std::byte> header) {
    const char type = static_cast<char>(header[156]);
    const bool is_file = type == '0' || type == '\0' || type == '7';
    const bool has_payload =
        type < '1' || type > '6';  // links, devices, folders and pipes have none, whatever they say
    auto size = number(header.subspan(124, 12));
    const bool is_extension = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    if (size_ && !is_extension) size = size_;
    if (!size) return Error::corruption("a bad size in the tar header at byte {}", (position_ - Bytes{kBlock}).value);
    const Bytes payload{has_payload ? *size : 0};
    if (payload > archive_.size() - position_) return cut_short();
    const Bytes start = position_;
    // The last member's padding may be missing.
    position_ = std::min(Bytes{round_up((start + payload).value, kBlock)}, archive_.size());
    switch (type) {
      case 'x':
        return pax_header(start, payload);
      case 'L':
        return long_text(start, payload, name_);
      case 'K':
        return long_text(start, payload, link_);
      case 'g':  // defaults for all members: nothing in it is of interest
        return {};
      case 'S':
        return Error::unsupported("a sparse member in the archive, at byte {}", start.value);
      default:
        break;
    }
    if (is_file) DADI_CHECK(add(header, {start, payload, {}}));
    if (type == '1' || type == '2') DADI_CHECK(add_link(header, type == '2'));
    name_.reset();
    link_.reset();
    size_.reset();
    return {};
  }

  std::string name_of(std::span<const std::byte> header) const {
    if (name_) return *name_;
    std::string name(field(header, 0, 100));
    // GNU's own format has other things where ustar has the prefix.
    if (as_text(header.subspan(257, 6)) == std::string_view("ustar\0", 6))
      if (const auto prefix = field(header, 345, 155); !prefix.empty()) name = std::string(prefix) + "/" + name;
    return name;
  }

  Result<void> add(std::span<const std::byte> header, Member member) {
    const auto name = plain_name(name_of(header));
    if (!name || name->empty()) return {};  // nobody can ask for it
    names_ += name->size() + member.link.size() + sizeof(Members::value_type);
    if (names_ > kNamesLimit) return Error::unsupported("an archive of too many members");
    members_.insert_or_assign(*name, std::move(member));
    return {};
  }

  // Symbolic links are relative to their own folder, hard links to the archive.
  Result<void> add_link(std::span<const std::byte> header, bool symbolic) {
    std::string target = link_ ? *link_ : std::string(field(header, 157, 100));
    if (symbolic && !target.starts_with('/')) {
      const std::string own = name_of(header);
      const std::size_t slash = own.rfind('/');
      target.insert(0, slash == std::string::npos ? "" : own.substr(0, slash + 1));
    }
    const auto name = plain_name(target);
    if (!name || name->empty()) return {};  // as if it dangled
    return add(header, {{0}, {0}, *name});
  }

  Result<std::string> extension(Bytes start, Bytes size) {
    if (size > kExtensionLimit)
      return Error::corruption("a tar extension of {} bytes at byte {}", size.value, start.value);
    DADI_TRY(const auto bytes, read_range(archive_, start, size));
    return std::string(as_text(bytes));
  }

  Result<void> long_text(Bytes start, Bytes size, std::optional<std::string>& target) {
    DADI_TRY(std::string text, extension(start, size));
    text.resize(std::min(text.find('\0'), text.size()));
    target = std::move(text);
    return {};
  }

  // Records "<length> <key>=<value>\n", where the length counts itself.
  Result<void> pax_header(Bytes start, Bytes size) {
    DADI_TRY(const std::string text, extension(start, size));
    for (std::string_view rest = text; !rest.empty();) {
      std::size_t length = 0;
      const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
      const auto digits = static_cast<std::size_t>(end - rest.data());
      if (error != std::errc{} || length < digits + 2 || length > rest.size() || rest[digits] != ' ' ||
          rest[length - 1] != '\n')
        return Error::corruption("a malformed pax header at byte {}", start.value);
      const std::string_view record = rest.substr(digits + 1, length - digits - 2);
      rest.remove_prefix(length);
      const std::size_t equals = record.find('=');
      if (equals == std::string_view::npos) return Error::corruption("a malformed pax header at byte {}", start.value);
      DADI_CHECK(pax_record(record.substr(0, equals), record.substr(equals + 1), start));
    }
    return {};
  }

  Result<void> pax_record(std::string_view key, std::string_view value, Bytes start) {
    if (key == "path") name_ = value;
    if (key == "linkpath") link_ = value;
    if (key.starts_with("GNU.sparse."))
      return Error::unsupported("a sparse member in the archive, at byte {}", start.value);
    if (key != "size") return {};
    std::uint64_t size = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), size);
    if (error != std::errc{} || end != value.data() + value.size() || size >> 63 != 0)
      return Error::corruption("a bad size in the pax header at byte {}", start.value);
    size_ = size;
    return {};
  }

  const BlobReader& archive_;
  Bytes position_;
  Members members_;
  std::size_t names_ = 0;
  // From extension headers, for the next member.
  std::optional<std::string> name_;
  std::optional<std::string> link_;
  std::optional<std::uint64_t> size_;
};

Result<std::unique_ptr<TarTree>> TarTree::open(SharedBlob archive) {
  if (archive->size() < Bytes{kBlock}) return Error::corruption("not a tar archive: {} bytes", archive->size().value);
  DADI_TRY(Members members, Walk(*archive).run());
  return std::unique_ptr<TarTree>(new TarTree(std::move(archive), std::move(members)));
}

Result<SharedBlob> TarTree::open(std::string_view name) const {
  auto wanted = plain_name(name);
  for (int links = 0; wanted && links <= kMaxLinks; ++links) {
    const auto at = members_.find(*wanted);
    if (at == members_.end()) break;
    const Member& member = at->second;
    if (member.link.empty()) return SharedBlob(std::make_shared<BlobWindow>(archive_, member.offset, member.size));
    wanted = member.link;
  }
  return Error::not_found("the archive has no file \"{}\"", name.substr(0, 200));
}

bool TarTree::contains(std::string_view name) const {
  const auto wanted = plain_name(name);
  return wanted && members_.contains(*wanted);
}

}  // namespace dadi::oci
