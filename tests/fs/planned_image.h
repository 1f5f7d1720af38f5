// Images planned layer by layer in memory, for tests: each layer on what the planner remembers of those below, and
// again on their finished blobs, which must give the same bytes.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "libformat/blob/memory_blob.h"
#include "libformat/lsmt/layer_reader.h"
#include "libformat/lsmt/layer_writer.h"
#include "libformat/lsmt/stack_reader.h"
#include "libfs/check/check.h"
#include "libfs/ext4/volume.h"
#include "libfs/model/compare.h"
#include "libfs/model/tree_model.h"
#include "libfs/writer/ext2_file_system.h"
#include "libfs/writer/layer_planner.h"
#include "libfs/writer/planned_stack.h"
#include "tests/fs/archive_reading.h"

namespace dadi::fs {

class VectorSink final : public ByteSink {
 public:
  Result<void> write(std::span<const std::byte> data) override {
    bytes.insert(bytes.end(), data.begin(), data.end());
    return {};
  }
  std::vector<std::byte> bytes;
};

class PlannedImage {
 public:
  explicit PlannedImage(Bytes size = {std::uint64_t{1} << 30}) : size_(size), stack_(size) {}

  // Plans one more layer. The layer's bytes do not depend on where the one below was read from: that is checked.
  Result<void> add(const std::vector<std::byte>& tar) {
    const PlannedStack nothing(size_);
    DADI_TRY(auto from_memory, plan(tar, stack_, true));
    if (!blobs_.empty()) {
      DADI_TRY(const auto below, device());
      DADI_TRY(auto from_blobs, plan(tar, *below, false));
      if (from_memory != from_blobs) return Error::internal("the layer depends on where the one below was read from");
    } else {
      DADI_TRY(auto read_back, plan(tar, nothing, false));
      if (from_memory != read_back)
        return Error::internal("the layer depends on whether a new file system is read back");
    }
    blobs_.push_back(std::make_shared<MemoryBlob>(std::move(from_memory)));
    return {};
  }

  Result<std::shared_ptr<const lsmt::StackReader>> device() const {
    std::vector<lsmt::LayerReader> layers;
    for (const auto& blob : blobs_) {
      DADI_TRY(auto layer, lsmt::LayerReader::open(blob));
      layers.push_back(std::move(layer));
    }
    DADI_TRY(auto stack, lsmt::StackReader::open(std::move(layers)));
    return std::shared_ptr<const lsmt::StackReader>(std::move(stack));
  }

  Result<std::shared_ptr<const Volume>> volume() const {
    DADI_TRY(const auto stack, device());
    return Volume::open(stack);
  }

  const std::vector<std::shared_ptr<const MemoryBlob>>& blobs() const { return blobs_; }

 private:
  // `keep`: the image consists of it from now on; else it is only to be compared.
  Result<std::vector<std::byte>> plan(const std::vector<std::byte>& tar, const BlockReader& below, bool keep) {
    VectorSink sink;
    lsmt::LayerInfo info;
    info.virtual_size = size_;
    DADI_TRY(auto writer, lsmt::LayerWriter::create(sink, info));
    PlannedStack::Layer output(*writer);
    LayerDevice layer_device(below, output);
    const FormatOptions options{size_, {}, {}};
    if (blobs_.empty() && !keep) DADI_CHECK(Ext2FileSystem::format(layer_device, options));
    DADI_TRY(auto planner,
             blobs_.empty() && keep ? LayerPlanner::format(layer_device, options) : LayerPlanner::open(layer_device));
    PieceSource source(tar);
    DADI_TRY(auto archive, LayerArchive::open(source));
    DADI_CHECK(planner->apply(*archive));
    DADI_CHECK(planner->finish());
    DADI_CHECK(writer->finish());
    if (keep) stack_.absorb(std::move(output));
    return std::move(sink.bytes);
  }

  Bytes size_;
  PlannedStack stack_;
  std::vector<std::shared_ptr<const MemoryBlob>> blobs_;
};

// What is wrong with the image, "" if nothing: by our own verifier, by the model's tree and, if asked, by e2fsck.
inline std::string fault_of(const PlannedImage& image, const TreeModel& model, bool with_e2fsck) {
  auto device = image.device();
  if (!device) return device.error().message();
  const auto report = check_filesystem(*device);
  if (!report) return report.error().message();
  if (!report->sound()) return report->faults[0].place + ": " + report->faults[0].text;
  const auto volume = Volume::open(*device);
  if (!volume) return volume.error().message();
  const auto difference = first_difference(model, **volume);
  if (!difference) return difference.error().message();
  if (*difference) return **difference;
  if (!with_e2fsck) return "";
  const std::string path = testing::TempDir() + "planned-" + std::to_string(::getpid()) + ".img";
  {
    std::ofstream file(path, std::ios::binary);
    std::vector<std::byte> buffer;
    for (Sectors at; at < (*device)->size();) {
      const auto extent = (*device)->next_extent(at);
      if (!extent) return extent.error().message();
      if (extent->kind == Extent::Kind::kData) {
        buffer.resize(to_bytes(extent->length).value);
        if (const auto read = (*device)->read_at(at, buffer); !read) return read.error().message();
        file.seekp(static_cast<std::streamoff>(to_bytes(at).value));
        file.write(reinterpret_cast<const char*>(buffer.data()), static_cast<std::streamsize>(buffer.size()));
      }
      at += extent->length;
    }
  }
  std::filesystem::resize_file(path, to_bytes((*device)->size()).value);
  const int status = std::system(("PATH=$PATH:/sbin:/usr/sbin e2fsck -fn " + path + " >" + path + ".log 2>&1").c_str());
  std::string result;
  if (status != 0) {
    std::ifstream log(path + ".log");
    result = "e2fsck: " + std::string(std::istreambuf_iterator<char>(log), {});
  }
  std::filesystem::remove(path);
  std::filesystem::remove(path + ".log");
  return result;
}

}  // namespace dadi::fs
