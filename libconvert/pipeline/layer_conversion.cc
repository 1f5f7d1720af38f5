#include "libconvert/pipeline/layer_conversion.h"

#include <algorithm>

#include "libconvert/oci/converted.h"
#include "libconvert/pipeline/entries_ahead.h"
#include "libformat/base/bytes.h"
#include "libfs/layer_archive.h"
#include "libfs/writer/ext2_file_system.h"
#include "libfs/writer/layer_planner.h"

namespace dadi::pipeline {

namespace {

// 16 bytes that a purpose and a chain id determine.
std::array<std::byte, 16> derive(std::string_view purpose, const Digest& chain_id) {
  const Digest digest = Digest::of(as_bytes(fmt::format("dadi {}\n{}\n", purpose, chain_id.to_string())));
  std::array<std::byte, 16> bytes;
  std::copy_n(digest.raw().begin(), bytes.size(), bytes.begin());
  return bytes;
}

// Named after the bottom layer, so that images which share it share its blob, and others have other file systems.
fs::FormatOptions format_options(Bytes size, const Digest& chain_id) {
  fs::FormatOptions options{size, derive("file system", chain_id), derive("directory hash", chain_id)};
  options.uuid[6] = (options.uuid[6] & std::byte{0x0F}) | std::byte{0x80};  // version 8: vendor's own
  options.uuid[8] = (options.uuid[8] & std::byte{0x3F}) | std::byte{0x80};
  return options;
}

struct Planning {
  Planning(const fs::PlannedStack& stack, lsmt::LayerWriter& writer) : output(writer), device(stack, output) {}

  fs::PlannedStack::Layer output;
  fs::LayerDevice device;
  std::unique_ptr<fs::LayerPlanner> planner;
};

}  // namespace

std::string full_name(const SourceLayer& layer) {
  return fmt::format("{} ({})", layer.name, layer.source.digest.brief());
}

Result<PlannedLayer> plan_layer(ByteSource& stream, oci::ImageDestination& destination, const SourceLayer& layer,
                                fs::ArchiveBudget& budget, fs::PlannedStack& stack, CompressionWorkers& workers,
                                const ConvertOptions& options, bool& out_of_room) {
  const Bytes taken_before = budget.size();
  DADI_TRY(auto archive, fs::LayerArchive::open(stream, &budget));

  const lsmt::LayerInfo info{
      .virtual_size = options.virtual_size, .uuid = layer.uuid, .parent = layer.parent, .user_tag = {}};
  DADI_TRY(auto sink, destination.create_blob(kLayerBlobHead));
  DADI_TRY(auto blob, LayerBlob::create(std::move(sink), info, workers));

  const auto planning = std::make_shared<Planning>(stack, blob->layer());
  DADI_TRY(planning->planner,
           layer.bottom ? fs::LayerPlanner::format(planning->device, format_options(options.virtual_size, layer.chain))
                        : fs::LayerPlanner::open(planning->device));
  fs::LayerPlanner& planner = *planning->planner;
  EntriesAhead entries(*archive);
  auto planned = planner.apply(entries);
  if (planned) planned = planner.finish();
  out_of_room = planner.out_of_room();
  DADI_CHECK(std::move(planned));
  DADI_TRY(const auto summary, blob->finish_layer());
  stack.absorb(std::move(planning->output));

  return PlannedLayer{.blob = std::move(blob),
                      .layer = {.source = layer.source,
                                .result = layer.source,
                                .entries = planner.entries(),
                                .segments = summary.records,
                                .data = summary.data,
                                .clamped_times = planner.clamped_times(),
                                .archive = budget.size() - taken_before},
                      .used = planning};
}

Result<ConvertedLayer> finish_layer(PlannedLayer planned, oci::Family family) {
  DADI_TRY(const BlobIdentity blob, planned.blob->finish());
  planned.layer.result = oci::block_layer_descriptor(blob.digest, blob.size, family);
  return std::move(planned.layer);
}

namespace {

// How many blocks the content of an archive's current entry takes.
Result<std::uint64_t> content_blocks(fs::LayerArchive& archive) {
  std::uint64_t blocks = 0;
  std::uint64_t counted = 0;  // blocks of the file up to here, holes included
  while (true) {
    DADI_TRY(const auto data, archive.next_data());
    if (!data) return blocks;
    const std::uint64_t first = std::max(counted, data->offset.value / fs::kBlockSize);
    counted = divide_up(data->offset.value + data->bytes.size(), fs::kBlockSize);
    blocks += counted - std::min(counted, first);
  }
}

}  // namespace

Result<Bytes> fitting_virtual_size(const oci::ImageSource& source, const oci::SelectedImage& image,
                                   const ConvertOptions& options) {
  constexpr std::uint64_t kBytesPerInode = 16384;
  constexpr std::uint64_t kStep = std::uint64_t{64} << 20;
  std::uint64_t blocks = 0;
  std::uint64_t inodes = 16;
  fs::ArchiveBudget budget(options.limits);
  for (std::size_t i = 0; i < image.manifest.layers.size(); ++i) {
    LayerStreamOptions stream_options;
    stream_options.stop = options.stop;
    const auto stream =
        open_layer_stream(opener(source, image.manifest.layers[i]), image.config.diff_ids()[i], stream_options);
    DADI_TRY(auto archive, fs::LayerArchive::open(*stream, &budget));
    while (true) {
      DADI_TRY(const auto entry, archive->next_entry());
      if (!entry) break;
      ++inodes;
      DADI_TRY(const std::uint64_t content, content_blocks(*archive));
      blocks += 1 + content;
    }
  }
  // The tables of the file system take less than a fiftieth; directories and extents are within the entries' own
  // blocks.
  const std::uint64_t needed = std::max(blocks * fs::kBlockSize / 50 * 51, inodes * kBytesPerInode);
  const Bytes fitting{round_up(needed + kStep / 2, kStep)};
  if (fitting > fs::kLargestDevice) return Error::exhausted("no device is large enough");
  return fitting;
}

}  // namespace dadi::pipeline
