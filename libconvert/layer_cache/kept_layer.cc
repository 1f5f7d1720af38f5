#include "libconvert/layer_cache/kept_layer.h"

#include <archive.h>
#include <ext2fs/ext2fs.h>
#include <lz4.h>
#include <zstd.h>

#include <charconv>

#include "libconvert/oci/json.h"
#include "libconvert/oci/media_types.h"
#include "libformat/base/bytes.h"

namespace dadi::layer_cache {

namespace {

constexpr char kKey[] = "dadi.layer.key";
constexpr char kEntries[] = "dadi.layer.entries";
constexpr char kSegments[] = "dadi.layer.segments";
constexpr char kData[] = "dadi.layer.data";
constexpr char kClampedTimes[] = "dadi.layer.clamped-times";
constexpr char kArchive[] = "dadi.layer.archive";

Result<std::uint64_t> number(const oci::Descriptor& descriptor, const char* name) {
  const std::string& text = descriptor.annotation(name);
  std::uint64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size())
    return Error::corruption("{}: \"{}\" is no number", name, text.substr(0, 40));
  return value;
}

}  // namespace

std::string library_versions() {
  const char* ext2fs_version = nullptr;
  ext2fs_get_library_version(&ext2fs_version, nullptr);
  return fmt::format("lz4 {}, zstd {}, libext2fs {}, {}", LZ4_versionString(), ZSTD_versionString(), ext2fs_version,
                     archive_version_string());
}

Digest key_of(const KeyInputs& inputs) {
  const zfile::Options& compression = inputs.compression;
  const int level = compression.algorithm == zfile::Algorithm::kZstd ? compression.level : 0;  // lz4 has none
  return Digest::of(as_bytes(
      fmt::format("dadi layer {}\nchain {}\nvirtual size {}\ncompression {} level {} blocks of {}\nlibraries {}\n",
                  kBytesVersion, inputs.chain_id.to_string(), inputs.virtual_size.value,
                  zfile::name_of(compression.algorithm), level, compression.block_size, library_versions())));
}

oci::Descriptor describe(const KeptLayer& layer) {
  return {.media_type = std::string(oci::kOciLayer),
          .digest = layer.blob.digest,
          .size = layer.blob.size,
          .annotations = {{kKey, layer.key.to_string()},
                          {kEntries, std::to_string(layer.entries)},
                          {kSegments, std::to_string(layer.segments)},
                          {kData, std::to_string(layer.data.value)},
                          {kClampedTimes, std::to_string(layer.clamped_times)},
                          {kArchive, std::to_string(layer.archive.value)}}};
}

Result<KeptLayer> parse_kept_layer(const oci::Descriptor& descriptor) {
  DADI_TRY(const Digest key, oci::parse_digest(descriptor.annotation(kKey)).context("{}", kKey));
  KeptLayer layer{.key = key, .blob = {descriptor.digest, descriptor.size}, .data = {}, .archive = {}};
  DADI_TRY(layer.entries, number(descriptor, kEntries));
  DADI_TRY(layer.segments, number(descriptor, kSegments));
  DADI_TRY(layer.data.value, number(descriptor, kData));
  DADI_TRY(layer.clamped_times, number(descriptor, kClampedTimes));
  DADI_TRY(layer.archive.value, number(descriptor, kArchive));
  return layer;
}

}  // namespace dadi::layer_cache
