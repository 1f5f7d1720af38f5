// Layers planned in memory, one on the other.
#pragma once

#include <memory>
#include <vector>

#include "libformat/blob/memory_blob.h"
#include "libformat/lsmt/stack_reader.h"
#include "libfs/writer/ext2_file_system.h"
#include "libfs/writer/layer_planner.h"
#include "libfs/writer/planned_stack.h"
#include "tests/fs/archive_reading.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/memory_sink.h"

namespace dadi::fuzz {

class PlannedLayers {
 public:
  // `twice`: plan each layer on the finished blobs too, which must give the same bytes.
  PlannedLayers(Bytes size, bool twice) : size_(size), twice_(twice), stack_(size) {}

  // After a failure the layers before are as they were.
  Result<void> add(const std::vector<std::byte>& tar) {
    DADI_TRY(auto layer, plan(tar, stack_, true));
    if (twice_ && !blobs_.empty()) {
      const auto again = must(plan(tar, *device(), false), "a layer is planned on blobs");
      require(again == layer, "a layer does not depend on where the one below was read from");
    }
    blobs_.push_back(std::make_shared<MemoryBlob>(std::move(layer)));
    return {};
  }

  // REQUIRES: there is a layer.
  std::shared_ptr<const lsmt::StackReader> device() const {
    std::vector<lsmt::LayerReader> layers;
    for (const SharedBlob& blob : blobs_)
      layers.push_back(must(lsmt::LayerReader::open(blob), "a layer that we wrote opens"));
    return must(lsmt::StackReader::open(std::move(layers)), "layers that we wrote make a device");
  }
  std::size_t layers() const { return blobs_.size(); }

 private:
  Result<std::vector<std::byte>> plan(const std::vector<std::byte>& tar, const BlockReader& below, bool keep) {
    MemorySink sink;
    lsmt::LayerInfo info;
    info.virtual_size = size_;
    auto writer = must(lsmt::LayerWriter::create(sink, info), "a layer is begun");
    fs::PlannedStack::Layer output(*writer);
    fs::LayerDevice layer_device(below, output);
    auto planner = must(
        blobs_.empty() ? fs::LayerPlanner::format(layer_device, {size_, {}, {}}) : fs::LayerPlanner::open(layer_device),
        "a file system of ours is made, or opens");
    fs::PieceSource source(tar, 3000);
    DADI_TRY(auto archive, fs::LayerArchive::open(source));
    DADI_CHECK(planner->apply(*archive));
    DADI_CHECK(planner->finish());
    must(writer->finish(), "a layer is finished");
    if (keep) stack_.absorb(std::move(output));
    return std::move(sink.bytes);
  }

  Bytes size_;
  bool twice_;
  fs::PlannedStack stack_;
  std::vector<SharedBlob> blobs_;
};

}  // namespace dadi::fuzz
