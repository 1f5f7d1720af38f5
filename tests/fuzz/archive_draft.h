// Layer archives for fuzzers: described in few bytes, so that most inputs are well-formed and name each other's files.
#pragma once

#include <array>
#include <string>

#include "tests/fs/tar_builder.h"
#include "tests/fuzz/fuzz_input.h"

namespace dadi::fuzz {

// Takes entries from an input until it says that the layer ends.
class ArchiveDraft {
 public:
  explicit ArchiveDraft(Input& input) : input_(input) {}

  std::vector<std::byte> take() {
    while (!input_.empty()) {
      const unsigned kind = input_.byte() % 16;
      if (kind == 0) break;
      add(kind);
    }
    return ended_ ? tar_.finish() : tar_.unfinished();
  }

 private:
  void add(unsigned kind) {
    if (kind == 1) return static_cast<void>(tar_.whiteout(path()));
    if (kind == 2) return static_cast<void>(tar_.opaque(path()));
    if (kind == 3) {
      const std::string name = path();
      return static_cast<void>(tar_.hardlink(name, path()));
    }
    if (kind == 4) return odd();
    if (input_.byte() & 1) decorate();
    const std::string name = path();
    if (kind < 9) {
      tar_.file(name, content());
    } else if (kind < 12) {
      tar_.directory(name);
    } else if (kind < 14) {
      tar_.symlink(name, input_.byte() & 1 ? path() : text());
    } else if (kind == 14) {
      tar_.device(name, input_.byte() & 1 ? 'b' : 'c', input_.number<std::uint16_t>() % 5000, input_.byte());
    } else {
      tar_.fifo(name);
    }
  }

  // What no archiver writes.
  void odd() {
    switch (input_.byte() % 5) {
      case 0:
        return static_cast<void>(tar_.entry(static_cast<char>(input_.byte()), path(), text(), content()));
      case 1:
        return static_cast<void>(tar_.raw(input_.text(input_.byte())));
      case 2:
        return static_cast<void>(tar_.pad());
      case 3:
        return static_cast<void>(tar_.pax_global({{text(), text()}}));
      default:
        ended_ = !ended_;
    }
  }

  void decorate() {
    const unsigned bits = input_.number<std::uint16_t>();
    if (bits & 1) tar_.mode(input_.number<std::uint16_t>());
    if (bits & 2) tar_.owner(input_.number<std::uint32_t>(), input_.number<std::uint16_t>());
    if (bits & 4) tar_.mtime(static_cast<std::int64_t>(input_.number<std::uint64_t>()) >> (bits >> 12));
    if (bits & 8) tar_.pax({{"mtime", text()}});
    if (bits & 16) tar_.pax({{"SCHILY.xattr." + name_space() + text(), std::string(value())}});
    if (bits & 32) tar_.pax({{bits & 64 ? "SCHILY.acl.access" : "SCHILY.acl.default", text()}});
    if (bits & 128) tar_.gnu_names();
    if (bits & 256) tar_.pax({{text(), text()}});
    if (bits & 512) tar_.pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", number()}});
    if (bits & 1024) tar_.stated_size(input_.number<std::uint16_t>());
    if (bits & 2048) tar_.pax({{"GNU.sparse.size", number()}, {"GNU.sparse.map", text()}});
  }

  std::string name_space() {
    constexpr std::array kNames{"user.", "trusted.", "security.", "system.", ""};
    return kNames[input_.byte() % kNames.size()];
  }
  std::string number() { return std::to_string(input_.number<std::uint32_t>()); }
  std::string text() { return std::string(input_.text(input_.byte() % 128)); }
  // Of an attribute: a few bytes of the input's, or many.
  std::string value() { return input_.byte() & 1 ? std::string(input_.number<std::uint16_t>() % 5000U, 'v') : text(); }

  // Mostly of few names, so that they meet often.
  std::string path() {
    constexpr std::array kNames{"a", "b", "c", "d", "a", "b", "\xff", "..", ".", "", ".wh.a", "lost+found"};
    const unsigned bits = input_.byte();
    std::string path = bits & 4 ? "/" : "";
    for (unsigned i = 0; i <= (bits & 3); ++i) {
      const unsigned name = input_.byte();
      if (i > 0) path += '/';
      if (name < 16 * kNames.size()) {
        path += kNames[name % kNames.size()];
      } else if (name < 240) {  // distinct names, long ones too: a directory of many blocks needs them
        path += std::to_string(input_.byte()) + std::string(name % 8 * 30, 'n');
      } else {
        path += text();
      }
    }
    return path;
  }

  std::string content() {
    const unsigned bits = input_.byte();
    const std::size_t size = input_.byte() * (bits & 2 ? std::size_t{1} : std::size_t{700});
    if (bits & 1) return std::string(input_.text(size));
    return std::string(size, bits & 4 ? '\0' : 'x');
  }

  Input& input_;
  fs::TarBuilder tar_;
  bool ended_ = true;  // the archive has its end marker
};

}  // namespace dadi::fuzz
