// What is kept of a conversion: a block layer, and under which key it is found again.
#pragma once

#include "libconvert/oci/descriptor.h"
#include "libformat/base/result.h"
#include "libformat/blob/byte_stream.h"
#include "libformat/zfile/codec.h"

namespace dadi::layer_cache {

// Everything that the bytes of a block layer depend on.
struct KeyInputs {
  Digest chain_id;  // of the source's layers up to this one
  Bytes virtual_size;
  zfile::Options compression;
};

// Raised with every change that makes other bytes of the same input. tests/cli/test_layer_cache.py notices one.
inline constexpr unsigned kBytesVersion = 1;

// A digest of the inputs, of kBytesVersion, and of the versions of the libraries that show in the bytes. Nothing of
// the result is in it: who can write under a key decides what is found there (see ConversionCache).
Digest key_of(const KeyInputs& inputs);
// The libraries, as the key has them: "lz4 1.9.4, zstd 1.5.4, …".
std::string library_versions();

// A value type.
struct KeptLayer {
  Digest key;
  BlobIdentity blob;
  std::uint64_t entries = 0;  // this and the rest: what a conversion tells (see ConvertedLayer)
  std::uint64_t segments = 0;
  Bytes data;
  std::uint64_t clamped_times = 0;
  Bytes archive;  // what its source's archive takes, uncompressed

  friend bool operator==(const KeptLayer&, const KeptLayer&) = default;
};

// As a descriptor with annotations: the form in which it is written down everywhere.
oci::Descriptor describe(const KeptLayer& layer);
// Errors: corruption (an annotation is missing or malformed).
Result<KeptLayer> parse_kept_layer(const oci::Descriptor& descriptor);

}  // namespace dadi::layer_cache
