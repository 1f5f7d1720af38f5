// The tar archive of one file, overlaybd.commit, that a pushed layer is wrapped in, so that tools which know nothing of
// block layers can handle it. Formats: formats.md, section 3; registry-image.md, section 2.3.
#pragma once

#include <array>
#include <optional>

#include "libformat/blob/blob_reader.h"

namespace dadi::tar_envelope {

// Where the wrapped bytes are in the blob.
struct Payload {
  Bytes offset;
  Bytes size;

  friend bool operator==(const Payload&, const Payload&) = default;
};

// Finds the file in a blob that is a tar archive, as the reference writes it (pax headers in front) or Go (one plain
// header); the archive's later members are not looked at. None: not a POSIX tar archive; GNU's own dialect, which the
// reference does not take for one, counts as none too. A returned payload lies within the blob.
// Errors: corruption (an interrupted commit, a malformed header, an archive that is cut short), unsupported (the first
// member is not a file, as in an ordinary layer), those of the blob.
Result<std::optional<Payload>> find_payload(const BlobReader& blob, const ReadContext& context = {});

inline constexpr Bytes kHeadSize{1536};

// What goes in front of a payload: the reference's bytes exactly (a pax header, its record, a header of mode 0100644,
// root:root, time 0).
std::array<std::byte, kHeadSize.value> head(Bytes payload_size);

// How many zero bytes follow a payload: up to a multiple of 512, and the archive's end.
Bytes tail_size(Bytes payload_size);

}  // namespace dadi::tar_envelope
