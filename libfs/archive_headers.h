// The header blocks of one tar entry, read once more: for what libarchive knows but does not tell (the type flag), or
// reads loosely (numbers, names and times of pax records).
// Formats: POSIX.1-2017 pax (ustar blocks, extended headers), the GNU tar manual ("Basic Tar Format").
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "libformat/base/result.h"
#include "libfs/layer_archive.h"

namespace dadi::fs {

inline constexpr std::size_t kTarBlock = 512;

// The records of an entry's extended headers, in their order. Views into the headers.
class PaxRecords {
 public:
  // Adds the records of one extended header's body. Errors: corruption (malformed; a name that holds a NUL; an id, a
  // size or a time that is not a number).
  Result<void> add(std::string_view body);

  // The last record of this key; none when its value is empty, which in pax means: as if there were none.
  std::optional<std::string_view> find(std::string_view key) const;
  bool has_prefix(std::string_view prefix) const;

 private:
  std::vector<std::pair<std::string_view, std::string_view>> records_;
};

// A pax time, "-12.5", exactly: a negative one's nanoseconds count up from the second below it. Digits past the ninth
// of a fraction are dropped. Errors: corruption (not a number, or seconds that need more than 63 bits).
Result<Timestamp> parse_pax_time(std::string_view text);

struct EntryHeaders {
  char type = '0';                // the type flag of the entry's own header
  std::string_view name;          // its name field, for messages
  std::uint16_t permissions = 0;  // the low 12 bits of its mode field
  PaxRecords pax;
};

// Reads the headers at the start of `blocks`, up to and including the entry's own. What they say is borrowed from
// `blocks`. Global pax headers are skipped, as container runtimes do.
// Errors: corruption (malformed, or no entry's header in `blocks`).
Result<EntryHeaders> parse_entry_headers(std::span<const std::byte> blocks);

// Whether `block` is the ustar or GNU header of an entry: magic and checksum are right. REQUIRES: 512 bytes.
bool is_entry_header(std::span<const std::byte> block);

}  // namespace dadi::fs
