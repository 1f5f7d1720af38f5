#include "libconvert/oci/acceleration_layer.h"

#include <algorithm>

#include "libconvert/oci/converted.h"
#include "libconvert/oci/file_tree.h"
#include "libconvert/oci/tar_writer.h"
#include "libformat/blob/memory_blob.h"

namespace dadi::oci {

namespace {

constexpr char kName[] = "trace";
constexpr unsigned kMode = 0444;
constexpr std::uint64_t kTarBlock = 512;

}  // namespace

std::vector<std::byte> acceleration_layer(std::span<const std::byte> trace) {
  const auto header = TarWriter::header(kName, {trace.size()}, '0', kMode);
  std::vector<std::byte> layer(round_up(header.size() + trace.size(), kTarBlock) + 2 * kTarBlock);
  std::ranges::copy(trace, std::ranges::copy(header, layer.begin()).out);
  return layer;
}

Result<std::vector<std::byte>> trace_of(std::vector<std::byte> layer) {
  DADI_TRY(const auto tree, TarTree::open(std::make_shared<MemoryBlob>(std::move(layer))));
  return read_file(*tree, kName, kAccelerationLayerLimit);
}

Descriptor acceleration_layer_descriptor(const BlobIdentity& blob) {
  Descriptor descriptor = block_layer_descriptor(blob.digest, blob.size, Family::kOci);
  descriptor.annotations[kAccelerationLayer] = "yes";
  return descriptor;
}

}  // namespace dadi::oci
