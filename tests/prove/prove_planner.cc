// Plans images for tests/prove, layer by layer, in one process for many images. Reads commands from standard input, a
// line each, and answers each with a line:
//   device BYTES FILE   a new image on a device of that size; FILE will be the device. Answer: ok
//   layer TAR           plans one more layer, and makes FILE what the device is with it. Answers:
//     ok FEATURES         planned; sound for the verifier, and equal to the tree model. What is in it: "name=count …"
//     full TEXT           it does not fit; the image stays as it was, and takes no more layers
//     refused TEXT        planner and model refuse it alike; nor does it take more layers then
//     fault TEXT          something is wrong
#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>

#include "libfs/ext4/inode.h"
#include "libfs/ext4/layout.h"
#include "tests/fs/planned_image.h"

namespace dadi::fs {
namespace {

// What of ext4's richer structures the file system has.
Result<std::string> features_of(const Volume& volume, std::uint32_t inodes) {
  std::size_t indexed = 0, two_levels = 0, directory_trees = 0, trees = 0, deep_trees = 0, xattr_blocks = 0,
              long_symlinks = 0;
  std::uint32_t left = inodes - volume.superblock().free_inode_count - volume.superblock().first_inode + 2;
  for (InodeNumber number = kRootInode; number <= inodes && left > 0; ++number) {
    const auto inode = volume.inode(number);
    if (!inode) continue;  // not in use
    if (number == kRootInode || number >= volume.superblock().first_inode) --left;
    const FileType type = inode->attributes.type;
    if (inode->xattr_block != 0) ++xattr_blocks;
    if (type == FileType::kSymlink && !is_short_symlink(*inode)) ++long_symlinks;
    if ((inode->flags & layout::inode_flag::kExtents) != 0 && number >= volume.superblock().first_inode) {
      const unsigned depth = static_cast<unsigned>(inode->block_map[6]);  // eh_depth
      if (depth > 0) ++(type == FileType::kDirectory ? directory_trees : trees);
      if (depth > 1) ++deep_trees;
    }
    if (type == FileType::kDirectory && (inode->flags & layout::inode_flag::kIndexed) != 0) {
      ++indexed;
      // A root of one level refers to leaves, 507 at most.
      if (inode->size.value / kBlockSize > 508) ++two_levels;
    }
  }
  return fmt::format(
      "htree={} htree2={} directory_extent_tree={} extent_tree={} extent_tree2={} xattr_block={} long_symlink={}",
      indexed, two_levels, directory_trees, trees, deep_trees, xattr_blocks, long_symlinks);
}

class Image {
 public:
  Image(Bytes size, std::string file) : size_(size), file_(std::move(file)), planned_(size) {
    std::ofstream(file_, std::ios::binary);
    std::filesystem::resize_file(file_, size.value);
  }

  std::string add(const std::string& tar) {
    std::ifstream in(tar, std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    const auto bytes = as_bytes(text.view());
    const std::vector<std::byte> archive(bytes.begin(), bytes.end());
    const auto written = planned_.add(archive);
    if (!written && written.error().code() == ErrorCode::kExhausted) return "full " + written.error().message();
    const auto modelled = apply_to_model(archive);
    if (!written && !modelled) {
      if (written.error().code() == modelled.error().code()) return "refused " + written.error().message();
      return fmt::format("fault planner and model refuse differently: {}; {}", written.error().message(),
                         modelled.error().message());
    }
    if (!written) return "fault the planner alone refuses: " + written.error().message();
    if (!modelled) return "fault the model alone refuses: " + modelled.error().message();
    if (const std::string fault = fault_of(planned_, model_, false); !fault.empty()) return "fault " + fault;
    if (const auto copied = write_layer(); !copied) return "fault " + copied.error().message();
    const auto volume = planned_.volume();
    if (!volume) return "fault " + volume.error().message();
    const auto features = features_of(**volume, (*volume)->superblock().inode_count);
    return features ? "ok " + *features : "fault " + features.error().message();
  }

 private:
  Result<void> apply_to_model(const std::vector<std::byte>& tar) {
    PieceSource source(tar);
    DADI_TRY(const auto archive, LayerArchive::open(source));
    return model_.apply(*archive);
  }

  // Copies what the newest layer says of the device into the file.
  Result<void> write_layer() {
    DADI_TRY(auto layer, lsmt::LayerReader::open(planned_.blobs().back()));
    std::vector<lsmt::LayerReader> layers;
    layers.push_back(std::move(layer));
    DADI_TRY(const auto own, lsmt::StackReader::open(std::move(layers)));
    std::fstream file(file_, std::ios::binary | std::ios::in | std::ios::out);
    std::vector<std::byte> buffer;
    for (Sectors at; at < own->size();) {
      DADI_TRY(const auto extent, own->next_extent(at));
      if (extent.kind != Extent::Kind::kHole) {
        buffer.assign(to_bytes(extent.length).value, std::byte{0});
        DADI_CHECK(own->read_at(at, buffer));
        file.seekp(static_cast<std::streamoff>(to_bytes(at).value));
        file.write(reinterpret_cast<const char*>(buffer.data()), static_cast<std::streamsize>(buffer.size()));
      }
      at += extent.length;
    }
    file.close();
    if (!file) return Error::io("cannot write {}", file_);
    return {};
  }

  Bytes size_;
  std::string file_;
  PlannedImage planned_;
  TreeModel model_;
};

int serve() {
  std::optional<Image> image;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command, file;
    words >> command;
    std::string answer = "fault no such command";
    if (command == "device") {
      Bytes size;
      words >> size.value >> std::ws;
      std::getline(words, file);
      image.emplace(size, file);
      answer = "ok";
    } else if (command == "layer" && image) {
      std::getline(words >> std::ws, file);
      answer = image->add(file);
    }
    std::ranges::replace(answer, '\n', ' ');
    std::cout << answer << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace dadi::fs

int main() {
  return dadi::fs::serve();
}
