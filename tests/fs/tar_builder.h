// Tar archives in memory, odd ones too, for tests. The headers are written here byte by byte, so that what is tested
// does not depend on what some archiver is willing to write. Formats: POSIX.1-2017 pax, and the GNU tar manual's
// "Basic Tar Format" (magic "ustar  ", 'L' and 'K' entries, base-256 numbers).
//
//   auto tar = TarBuilder()
//                  .directory("etc")
//                  .mode(0600).owner(7, 8).mtime(-5).file("etc/x", "content")
//                  .pax({{"SCHILY.xattr.user.a", "v"}}).symlink("etc/y", "../x")
//                  .whiteout("etc/z")
//                  .finish();
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libformat/base/bytes.h"

namespace dadi::fs {

// One thread at a time. Nothing is checked: a test may ask for any nonsense.
class TarBuilder {
 public:
  using Records = std::vector<std::pair<std::string, std::string>>;  // of a pax header, in order, repeats allowed

  // What the next entry gets besides path and type; then back to the defaults. A mode that is not given is 0644, or
  // 0755 of directories, or 0777 of symlinks.
  TarBuilder& mode(std::uint32_t mode) { return next_.mode = mode, *this; }
  TarBuilder& owner(std::int64_t uid, std::int64_t gid) { return next_.uid = uid, next_.gid = gid, *this; }
  TarBuilder& mtime(std::int64_t seconds) { return next_.mtime = seconds, *this; }
  // The size that the header states, where it is not that of the content.
  TarBuilder& stated_size(std::int64_t size) { return next_.size = size, *this; }
  TarBuilder& checksum(unsigned checksum) { return next_.checksum = checksum, *this; }
  // Names over 100 bytes: in GNU 'L' and 'K' entries, not in pax records.
  TarBuilder& gnu_names() { return next_.gnu_names = true, *this; }
  // The ustar header's prefix field. REQUIRES: at most 155 bytes.
  TarBuilder& prefix(std::string_view prefix) { return next_.prefix = prefix, *this; }
  // Records of a pax header before the next entry. Several calls add up.
  TarBuilder& pax(const Records& records) {
    next_.pax.insert(next_.pax.end(), records.begin(), records.end());
    return *this;
  }

  TarBuilder& file(std::string_view path, std::string_view content = {}) { return entry('0', path, {}, content); }
  TarBuilder& directory(std::string_view path) {
    return entry('5', path.ends_with('/') ? std::string(path) : std::string(path) + '/');
  }
  TarBuilder& symlink(std::string_view path, std::string_view target) { return entry('2', path, target); }
  TarBuilder& hardlink(std::string_view path, std::string_view target) { return entry('1', path, target); }
  TarBuilder& fifo(std::string_view path) { return entry('6', path); }
  // A character device ('c') or a block device ('b').
  TarBuilder& device(std::string_view path, char kind, std::int64_t major, std::int64_t minor) {
    next_.major = major;
    next_.minor = minor;
    return entry(kind == 'c' ? '3' : '4', path);
  }
  TarBuilder& whiteout(std::string_view path) {  // of "a/b": the file a/.wh.b
    const std::size_t name = path.rfind('/') == std::string_view::npos ? 0 : path.rfind('/') + 1;
    return file(std::string(path.substr(0, name)) + ".wh." + std::string(path.substr(name)));
  }
  TarBuilder& opaque(std::string_view directory) {
    return file(directory.empty() ? ".wh..wh..opq" : std::string(directory) + "/.wh..wh..opq");
  }
  // A pax header for all entries that follow.
  TarBuilder& pax_global(const Records& records) { return header('g', "global", {}, pax_text(records)); }

  // An entry of any type flag.
  TarBuilder& entry(char type, std::string_view path, std::string_view link = {}, std::string_view content = {}) {
    if (path.size() > 100) long_name('L', "path", path);
    if (link.size() > 100) long_name('K', "linkpath", link);
    if (!next_.pax.empty()) {
      const Properties properties = std::exchange(next_, {});
      header('x', "PaxHeaders/entry", {}, pax_text(properties.pax));
      next_ = properties;
    }
    return header(type, path.substr(0, 100), link.substr(0, 100), content);
  }

  // Bytes as they are, wherever the archive stands now.
  TarBuilder& raw(std::string_view bytes) { return archive_.append(bytes), *this; }
  // Zeros up to the next multiple of 512.
  TarBuilder& pad() { return archive_.resize((archive_.size() + 511) / 512 * 512), *this; }
  std::size_t size() const { return archive_.size(); }

  // The archive with its end marker, two blocks of zeros.
  std::vector<std::byte> finish() const {
    std::vector<std::byte> bytes = unfinished();
    bytes.resize(bytes.size() + 1024);
    return bytes;
  }
  // The archive without it.
  std::vector<std::byte> unfinished() const {
    const auto bytes = as_bytes(archive_);
    return {bytes.begin(), bytes.end()};
  }

 private:
  struct Properties {
    std::optional<std::uint32_t> mode;
    std::int64_t uid = 0, gid = 0, mtime = 0, major = 0, minor = 0;
    std::optional<std::int64_t> size;
    std::optional<unsigned> checksum;
    bool gnu_names = false;
    std::string prefix;
    Records pax;
  };
  using Block = std::array<char, 512>;

  static void put(Block& block, std::size_t at, std::size_t room, std::string_view text) {
    text.copy(block.data() + at, room);
  }

  // A number field: octal digits and a NUL where they fit, otherwise base-256, which is big-endian two's complement
  // with the first byte's top bit set.
  static void put_number(Block& block, std::size_t at, std::size_t room, std::int64_t value) {
    if (value >= 0 && value < (std::int64_t{1} << (3 * (room - 1)))) {
      std::array<char, 32> text{};
      std::snprintf(text.data(), text.size(), "%0*llo", static_cast<int>(room - 1), static_cast<long long>(value));
      return put(block, at, room, text.data());
    }
    for (std::size_t i = 0; i < room; ++i) {
      block[at + room - 1 - i] = static_cast<char>(i < 8 ? value >> (8 * i) : (value < 0 ? -1 : 0));
    }
    block[at] = static_cast<char>(static_cast<unsigned char>(block[at]) | 0x80U);
  }

  // "<length> <key>=<value>\n", where the length counts its own digits.
  static std::string pax_text(const Records& records) {
    std::string text;
    for (const auto& [key, value] : records) {
      const std::size_t rest = key.size() + value.size() + 3;
      std::size_t length = rest + 1;
      while (std::to_string(length).size() + rest != length) length = std::to_string(length).size() + rest;
      text += std::to_string(length) + ' ' + key + '=' + value + '\n';
    }
    return text;
  }

  void long_name(char type, const char* key, std::string_view name) {
    if (!next_.gnu_names) {
      pax({{key, std::string(name)}});
      return;
    }
    const Properties properties = std::exchange(next_, {});
    next_.gnu_names = true;
    header(type, "././@LongLink", {}, std::string(name) + '\0');
    next_ = properties;
  }

  TarBuilder& header(char type, std::string_view path, std::string_view link, std::string_view content) {
    Block block{};
    const std::uint32_t usual = type == '5' ? 0755 : type == '2' ? 0777 : 0644;
    put(block, 0, 100, path);
    put_number(block, 100, 8, next_.mode.value_or(usual));
    put_number(block, 108, 8, next_.uid);
    put_number(block, 116, 8, next_.gid);
    put_number(block, 124, 12, next_.size.value_or(static_cast<std::int64_t>(content.size())));
    put_number(block, 136, 12, next_.mtime);
    block[156] = type;
    put(block, 157, 100, link);
    put(block, 257, 8, next_.gnu_names ? std::string_view("ustar  \0", 8) : std::string_view("ustar\00000", 8));
    put_number(block, 329, 8, next_.major);
    put_number(block, 337, 8, next_.minor);
    put(block, 345, 155, next_.prefix);
    seal(block);
    archive_.append(block.data(), block.size());
    archive_.append(content);
    next_ = {};
    return pad();
  }

  // The checksum: the sum of all bytes, its own field taken as spaces.
  void seal(Block& block) const {
    std::memset(block.data() + 148, ' ', 8);
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    put_number(block, 148, 7, next_.checksum.value_or(sum));
  }

  std::string archive_;
  Properties next_;
};

}  // namespace dadi::fs
