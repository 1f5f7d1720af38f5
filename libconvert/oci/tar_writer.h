// A tar archive that depends on its members alone. Internal to this folder. Source of the format: POSIX.1-2017, pax,
// "ustar Interchange Format"; sizes from 8 GiB on in GNU tar's binary form.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "libformat/blob/byte_stream.h"

namespace dadi::oci {

// Members in the order they are given; owner root, no times. One thread at a time.
class TarWriter {
 public:
  // `sink` must outlive this.
  explicit TarWriter(ByteSink& sink) : sink_(sink) {}

  // REQUIRES, here and below: a name of at most 100 bytes.
  Result<void> folder(std::string_view name);
  // Errors: internal (`content` has another size), those of source and sink.
  Result<void> file(std::string_view name, Bytes size, ByteSource& content);
  Result<void> text(std::string_view name, std::string_view content);
  // The two zero blocks at the end. Call once.
  Result<void> finish();

  static std::array<std::byte, 512> header(std::string_view name, Bytes size, char type, unsigned mode);

 private:
  Result<void> pad(Bytes size);

  ByteSink& sink_;
};

}  // namespace dadi::oci
