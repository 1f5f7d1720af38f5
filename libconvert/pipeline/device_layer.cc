#include "libconvert/pipeline/device_layer.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "libconvert/oci/converted.h"
#include "libconvert/pipeline/layer_blob.h"
#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"

namespace dadi::pipeline {

namespace {

constexpr Sectors kBlock{8};             // what is compared as a whole
constexpr Sectors kPieceOfDevice{2048};  // what is read at once

// A device, or none, as one without end: zeros follow, or are all there is.
class EndlessDevice {
 public:
  EndlessDevice(const BlockReader* device, const ReadContext& context) : device_(device), context_(context) {}

  Result<void> read(Sectors at, std::span<std::byte> out) const {
    const Sectors there = at < size() ? std::min(whole_sectors(out), size() - at) : Sectors{};
    const auto stored = out.first(to_bytes(there).value);
    std::ranges::fill(out.subspan(stored.size()), std::byte{0});
    return stored.empty() ? Result<void>() : device_->read_at(at, stored, context_);
  }

  // Up to where there is known to be nothing but zeros, from `at` on, and maybe beyond. Each extent is asked for once:
  // to tell its length may take as long as it has pieces. REQUIRES: calls come in ascending order.
  Result<Sectors> zeros_until(Sectors at) {
    if (at >= size()) return lsmt::kNowhere;
    if (at >= extent_end_) {
      DADI_TRY(const Extent extent, device_->next_extent(at));
      extent_end_ = at + extent.length;
      is_zero_ = extent.kind != Extent::Kind::kData;
    }
    if (!is_zero_) return at;
    return extent_end_ < size() ? extent_end_ : lsmt::kNowhere;
  }

 private:
  Sectors size() const { return device_ == nullptr ? Sectors{} : device_->size(); }

  const BlockReader* device_;
  const ReadContext& context_;
  Sectors extent_end_;
  bool is_zero_ = false;
};

class Comparison {
 public:
  Comparison(const BlockReader& device, const BlockReader* below, const ReadContext& context, const BytesDone& done)
      : device_(&device, context), below_(below, context), context_(context), done_(done) {}

  // REQUIRES: ranges come in ascending order, and begin at whole blocks.
  Result<void> compare(lsmt::SectorRange range) {
    for (Sectors at = range.begin; at < range.end;) {
      if (context_.stop.stop_requested()) return Error::cancelled("stopped");
      DADI_TRY(const Sectors zeros, zeros_until(at, range.end));
      const Sectors end = zeros > at ? zeros : std::min(range.end, at - at % kPieceOfDevice + kPieceOfDevice);
      if (zeros <= at) DADI_CHECK(compare_piece(at, end));
      looked_at_ += end - at;
      at = end;
      done_(to_bytes(looked_at_));
    }
    return {};
  }

  std::vector<DeviceChanges::Run> take_runs() { return std::move(runs_); }
  Sectors data() const { return data_; }
  Digest content() { return hasher_.finish(); }

 private:
  // The end of the blocks, from `at` on, in which both devices say that there are zeros; `at`: there are none.
  Result<Sectors> zeros_until(Sectors at, Sectors end) {
    DADI_TRY(const Sectors mine, device_.zeros_until(at));
    if (mine <= at) return at;
    DADI_TRY(const Sectors theirs, below_.zeros_until(at));
    const Sectors both = std::min(mine, theirs);
    return both >= end ? end : both - both % kBlock;
  }

  Result<void> compare_piece(Sectors at, Sectors end) {
    const auto mine = std::span(mine_).first(to_bytes(end - at).value);
    const auto theirs = std::span(theirs_).first(mine.size());
    DADI_CHECK(device_.read(at, mine));
    DADI_CHECK(below_.read(at, theirs));
    for (; at < end; at += kBlock) {
      const std::size_t here = mine.size() - to_bytes(end - at).value;
      const std::size_t size = std::min(to_bytes(kBlock).value, mine.size() - here);
      const auto block = mine.subspan(here, size);
      if (std::memcmp(block.data(), theirs.subspan(here, size).data(), size) != 0) DADI_CHECK(add(at, block));
    }
    return {};
  }

  Result<void> add(Sectors at, std::span<const std::byte> block) {
    // A device of a great many small zeroed runs has room in a layer if zeros are data, which goes on where it is.
    const bool zeroed = all_zero(block) && runs_.size() < lsmt::kZeroedLimit;
    const Sectors length = whole_sectors(block);
    if (!runs_.empty() && runs_.back().at + runs_.back().length == at && runs_.back().zeroed == zeroed) {
      runs_.back().length += length;
    } else if (runs_.size() < lsmt::kMaxRecords) {
      runs_.push_back({at, length, zeroed});
    } else {
      return Error::exhausted("changes in more than {} places: a layer has no room for more", lsmt::kMaxRecords);
    }
    std::array<std::byte, 9> head{};
    store_le<std::uint64_t>(head, 0, at.value);
    head[8] = zeroed ? std::byte{0} : std::byte{1};
    hasher_.update(head);
    if (!zeroed) hasher_.update(block);
    if (!zeroed) data_ += length;
    return {};
  }

  EndlessDevice device_;
  EndlessDevice below_;
  const ReadContext& context_;
  const BytesDone& done_;
  std::vector<std::byte> mine_ = std::vector<std::byte>(to_bytes(kPieceOfDevice).value);
  std::vector<std::byte> theirs_ = std::vector<std::byte>(to_bytes(kPieceOfDevice).value);
  std::vector<DeviceChanges::Run> runs_;
  Sectors data_;
  Sectors looked_at_;
  Hasher hasher_;
};

// The ranges, and the rest of the blocks that they begin or end in.
lsmt::SectorSet whole_blocks(const lsmt::SectorSet& written, Sectors size) {
  lsmt::SectorSet blocks;
  written.for_each([&](lsmt::SectorRange range) {
    blocks.insert(
        {range.begin - range.begin % kBlock, {std::min(round_up(range.end.value, kBlock.value), size.value)}});
  });
  return blocks;
}

lsmt::Uuid uuid_of(const DeviceChanges& changes, Sectors size, const lsmt::Uuid& parent) {
  return lsmt::Uuid::of(Digest::of(as_bytes(
      fmt::format("dadi device layer\n{}\n{}\n{}\n", size.value, parent.to_string(), changes.content().to_string()))));
}

// As much of a message as a layer has room for, without half a character.
std::string user_tag(std::string_view message) {
  if (message.size() <= lsmt::kMaxUserTag) return std::string(message);
  const auto within_character = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; };
  std::size_t size = lsmt::kMaxUserTag;
  while (size > 0 && within_character(message[size])) --size;
  return std::string(message.substr(0, size));
}

}  // namespace

Result<DeviceChanges> DeviceChanges::find(const BlockReader& device, const BlockReader* below,
                                          const lsmt::SectorSet& written, const ReadContext& context,
                                          const BytesDone& done) {
  Comparison comparison(device, below, context, done);
  Result<void> compared;
  whole_blocks(written, device.size()).for_each([&](lsmt::SectorRange range) {
    if (compared) compared = comparison.compare(range);
  });
  DADI_CHECK(std::move(compared));
  const Sectors data = comparison.data();
  const Digest content = comparison.content();
  return DeviceChanges(comparison.take_runs(), data, content);
}

lsmt::SectorSet all_sectors(const BlockReader& device) {
  lsmt::SectorSet all;
  all.insert({{}, device.size()});
  return all;
}

Result<DeviceLayer> write_device_layer(const BlockReader& device, const DeviceChanges& changes,
                                       const DeviceLayerOptions& options, oci::ImageDestination& destination,
                                       CompressionWorkers& workers, const ReadContext& context, const BytesDone& done) {
  const lsmt::LayerInfo info{.virtual_size = to_bytes(device.size()),
                             .uuid = uuid_of(changes, device.size(), options.parent),
                             .parent = options.parent,
                             .user_tag = user_tag(options.message)};
  DADI_TRY(auto sink, destination.create_blob(kLayerBlobHead));
  DADI_TRY(const auto blob, LayerBlob::create(std::move(sink), info, workers));
  std::vector<std::byte> buffer(to_bytes(kPieceOfDevice).value);
  Bytes written;
  for (const DeviceChanges::Run& run : changes.runs()) {
    if (context.stop.stop_requested()) return Error::cancelled("stopped");
    if (run.zeroed) {
      DADI_CHECK(blob->layer().write_zeroes(run.at, run.length));
      continue;
    }
    for (Sectors at = run.at, end = run.at + run.length; at < end;) {
      if (context.stop.stop_requested()) return Error::cancelled("stopped");
      const Sectors length = std::min(kPieceOfDevice, end - at);
      const auto piece = std::span(buffer).first(to_bytes(length).value);
      DADI_CHECK(device.read_at(at, piece, context));
      DADI_CHECK(blob->layer().write(at, piece));
      at += length;
      done(written += to_bytes(length));
    }
  }
  DADI_CHECK(options.all_read(info.uuid));
  DADI_TRY(const auto summary, blob->finish_layer());
  DADI_TRY(const BlobIdentity identity, blob->finish());
  return DeviceLayer{.descriptor = oci::block_layer_descriptor(identity.digest, identity.size, options.family),
                     .uuid = info.uuid,
                     .summary = summary};
}

}  // namespace dadi::pipeline
