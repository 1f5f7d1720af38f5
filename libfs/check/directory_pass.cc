#include <algorithm>
#include <functional>

#include "libformat/base/endian.h"
#include "libfs/check/state.h"
#include "libfs/ext4/directory.h"
#include "libfs/ext4/htree_hash.h"
#include "libfs/ext4/inode.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

constexpr std::uint64_t kLargestDirectory = std::uint64_t{1} << 30;

// A name's fingerprint and where its entry is.
struct NameMark {
  std::uint64_t fingerprint = 0;
  std::uint32_t block = 0;
  std::uint32_t offset = 0;
};

class DirectoryCheck {
 public:
  DirectoryCheck(CheckState& state, DirectoryRecord& record)
      : state_(state), record_(record), place_(Place::of_inode(record.number)) {}

  Result<void> run() {
    DADI_TRY(const auto raw, state_.image.raw_inode(record_.number));
    inode_ = decode_inode(state_.superblock(), record_.number, raw);
    const std::uint64_t blocks = inode_.size.value / state_.superblock().block_size;
    if (inode_.size.value > kLargestDirectory)
      return Error::exhausted("inode {}: a directory of {} bytes", record_.number, inode_.size.value);
    is_indexed_ = (inode_.flags & layout::inode_flag::kIndexed) != 0 &&
                  state_.superblock().has_compatible(layout::compatible::kDirectoryIndex);

    const auto visit = [this](std::uint64_t logical, std::uint64_t, std::span<const std::byte> block) {
      return visit_block(logical, block);
    };
    // What is wrong with the block map was told when the inode was checked.
    const auto ignore = [](const Error&) -> Result<void> { return {}; };
    DADI_CHECK(walk_directory_blocks(state_.image, inode_, {}, visit, ignore));
    if (next_block_ < blocks) fault_hole(blocks);
    if (!has_dots_) state_.findings.fault(place_, "\".\" and \"..\" are not its first entries");
    DADI_CHECK(check_duplicates());
    if (!is_indexed_) return {};
    if (hash_.version <= layout::htree::kTea) return check_index(state_, inode_, ranges_);
    state_.findings.fault(place_, "directory index: hash version {}", hash_.version);
    return {};
  }

 private:
  void fault_hole(std::uint64_t end) {
    state_.findings.fault(place_, "blocks {} to {} of the directory are missing", next_block_, end - 1);
  }

  Result<void> visit_block(std::uint64_t logical, std::span<const std::byte> block) {
    if (logical > next_block_) fault_hole(logical);
    next_block_ = logical + 1;
    if (logical == 0) read_hash_version(block);
    if (is_indexed_) range_ = &ranges_[logical];
    if (auto holds = check_directory_checksum(state_.superblock(), inode_, logical, block); !holds)
      state_.findings.fault(place_, "block {}: {}", logical, holds.error().message());

    std::size_t index = 0;
    const auto visit = [&](const RawEntry& entry) -> Result<void> {
      visit_entry(logical, index++, entry);
      return {};
    };
    if (auto walked = walk_entries(block, visit); !walked)
      state_.findings.fault(place_, "block {}: {}", logical, walked.error().message());
    if (logical == 0 && has_dots_) check_dot_padding(block);
    return {};
  }

  // Readers of old took the names of the first two entries for C strings.
  void check_dot_padding(std::span<const std::byte> block) {
    const std::size_t second = load_le<std::uint16_t>(block, layout::dirent::kLength);
    if (block[layout::dirent::kName + 1] != std::byte{0} || block[second + layout::dirent::kName + 2] != std::byte{0})
      state_.findings.fault(place_, "\".\" or \"..\" is not followed by zeros");
  }

  void read_hash_version(std::span<const std::byte> block) {
    hash_.version = load_le<std::uint8_t>(block, layout::htree::kRootHashVersion);
    hash_.is_signed = (state_.superblock().flags & layout::super::kFlagUnsignedHash) == 0;
    hash_.seed = state_.superblock().hash_seed;
  }

  void visit_entry(std::uint64_t logical, std::size_t index, const RawEntry& entry) {
    if (logical == 0 && index < 2) {
      visit_dot(index, entry);
      return;
    }
    if (entry.inode == 0) return;
    if (const auto problem = name_problem(entry.name))
      state_.findings.fault(place_, "the name {:?} {}", entry.name, *problem);
    names_.push_back({.fingerprint = std::hash<std::string_view>()(entry.name),
                      .block = static_cast<std::uint32_t>(logical),
                      .offset = static_cast<std::uint32_t>(entry.offset)});
    if (is_indexed_ && hash_.version <= layout::htree::kTea) {
      const std::uint32_t hash = htree_hash(hash_, entry.name);
      range_->lowest = std::min(range_->lowest, hash);
      range_->highest = std::max(range_->highest, hash);
    }
    follow(entry);
  }

  // "." and "..", the first two entries of a directory.
  void visit_dot(std::size_t index, const RawEntry& entry) {
    const std::string_view due = index == 0 ? "." : "..";
    if (entry.name != due || entry.inode == 0) {
      state_.findings.fault(place_, "{:?} where {:?} is due", entry.name, due);
      if (entry.inode != 0) follow(entry);
      return;
    }
    has_dots_ = index == 1;
    check_type(entry, FileType::kDirectory);
    if (index == 0 && entry.inode != record_.number)
      state_.findings.fault(place_, "\".\" leads to inode {}", entry.inode);
    if (index == 1) record_.dot_dot = entry.inode;
    InodeRecord* target = state_.find(entry.inode);
    if (target != nullptr) ++target->links_found;
    if (target == nullptr || target->type != FileType::kDirectory)
      state_.findings.fault(place_, "{:?} leads to inode {}, which is no directory", due, entry.inode);
  }

  // What an ordinary entry leads to.
  void follow(const RawEntry& entry) {
    const Superblock& sb = state_.superblock();
    if (entry.inode == kRootInode || entry.inode < sb.first_inode || entry.inode > sb.inode_count) {
      state_.findings.fault(place_, "{:?} leads to inode {}, which cannot be", entry.name, entry.inode);
      return;
    }
    InodeRecord* target = state_.find(entry.inode);
    if (target == nullptr) {
      state_.findings.fault(place_, "{:?} leads to inode {}, which is not in use", entry.name, entry.inode);
      return;
    }
    check_type(entry, target->type);
    ++target->links_found;
    if (target->parent == 0) {
      target->parent = record_.number;
    } else if (target->type == FileType::kDirectory) {
      state_.findings.fault(place_, "{:?} is a second link to directory inode {}", entry.name, entry.inode);
    }
  }

  void check_type(const RawEntry& entry, FileType type) {
    const bool has_types = state_.superblock().has_incompatible(layout::incompatible::kFileType);
    const std::uint8_t due = has_types ? directory_file_type(type) : layout::file_type::kUnknown;
    if (entry.file_type == due) return;
    if (entry.file_type == layout::file_type::kUnknown)
      state_.findings.note(place_, "the kind of {:?} is not stated", entry.name);
    else
      state_.findings.fault(place_, "{:?} is stated to be of kind {}, where {} is due", entry.name, entry.file_type,
                            due);
  }

  // Equal names have equal fingerprints. That different ones do is not likely, and then the image was made for it.
  Result<void> check_duplicates() {
    std::ranges::sort(names_, {}, &NameMark::fingerprint);
    for (std::size_t i = 1; i < names_.size(); ++i) {
      if (names_[i].fingerprint != names_[i - 1].fingerprint) continue;
      state_.findings.fault(place_, "the entries in block {} at {} and in block {} at {} have the same name",
                            names_[i - 1].block, names_[i - 1].offset, names_[i].block, names_[i].offset);
    }
    return {};
  }

  CheckState& state_;
  DirectoryRecord& record_;
  Place place_;
  Inode inode_;
  HtreeHash hash_;
  std::uint64_t next_block_ = 0;
  bool has_dots_ = false;
  bool is_indexed_ = false;
  HashRanges ranges_;           // of an indexed directory
  HashRange* range_ = nullptr;  // of the block that is being visited
  std::vector<NameMark> names_;
};

}  // namespace

Result<void> check_directories(CheckState& state) {
  for (DirectoryRecord& record : state.directories) {
    if (record.has_shared_blocks) {
      state.findings.fault(Place::of_inode(record.number), "not read: not all of its blocks are its own");
      continue;
    }
    DADI_CHECK(DirectoryCheck(state, record).run().context("inode {}", record.number));
  }
  return {};
}

}  // namespace dadi::fs
