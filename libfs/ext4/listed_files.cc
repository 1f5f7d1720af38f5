#include "libfs/ext4/listed_files.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "libfs/ext4/layout.h"
#include "libfs/ext4/path_pattern.h"
#include "libfs/ext4/volume.h"

namespace dadi::fs {
namespace {

constexpr std::size_t kLongestPath = 4096;       // as PATH_MAX
constexpr std::size_t kDeepest = 512;            // names after each other, those of symlinks' targets too
constexpr int kMostSymlinks = 40;                // in one path, as the kernel's MAXSYMLINKS
constexpr std::uint64_t kMostWork = 1ULL << 28;  // entries looked at, and bytes of names compared
constexpr std::size_t kMostEntries = 4U << 20;   // of all directories that are looked into
constexpr std::size_t kMostPlaces = 4U << 20;
constexpr std::size_t kMostExamples = 10;
constexpr std::uint64_t kPage = 4096;  // what kernels read at least

using Places = std::vector<DevicePlace>;

// A device that remembers what was read of it. One thread.
class NotedDevice final : public BlockReader {
 public:
  explicit NotedDevice(std::shared_ptr<const BlockReader> device) : device_(std::move(device)) {}

  Sectors size() const override { return device_->size(); }
  Result<Extent> next_extent(Sectors at) const override { return device_->next_extent(at); }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override {
    const std::uint64_t begin = to_bytes(at).value / kPage * kPage;
    const std::uint64_t end =
        std::min(round_up(to_bytes(at).value + out.size(), kPage), to_bytes(device_->size()).value);
    if (end > begin &&
        !(noted_.size() > 0 && noted_.back().at.value == begin && noted_.back().size.value == end - begin))
      noted_.push_back({{begin}, {end - begin}});
    return device_->read_at(at, out, context);
  }

  // What was read since this was asked last.
  Places take() const { return std::exchange(noted_, {}); }

 private:
  const std::shared_ptr<const BlockReader> device_;
  mutable Places noted_;
};

// An inode, and what reading it takes.
struct Known {
  Inode inode;
  Places reads;
  bool noted = false;  // the reads are among the results
};

struct Directory {
  Known self;                           // with the reads of its entries
  std::vector<DirectoryEntry> entries;  // by name
};

// One name of a path.
struct Component {
  enum class Kind { kName, kPattern, kAnyDirectories, kParent };
  Kind kind = Kind::kName;
  std::string text;
};
using Path = std::vector<Component>;

// `literal`: no pattern is one.
Path parse_path(std::string_view text, bool literal) {
  Path path;
  while (!text.empty()) {
    const std::size_t slash = std::min(text.find('/'), text.size());
    const std::string_view name = text.substr(0, slash);
    text.remove_prefix(std::min(slash + 1, text.size()));
    using Kind = Component::Kind;
    if (name.empty() || name == ".") continue;
    Kind kind = Kind::kName;
    if (name == "..") kind = Kind::kParent;
    if (!literal && name == "**") kind = Kind::kAnyDirectories;
    if (!literal && kind == Kind::kName && is_pattern(name)) kind = Kind::kPattern;
    if (kind == Kind::kAnyDirectories && !path.empty() && path.back().kind == kind) continue;  // twice is once
    path.push_back({kind, std::string(name)});
  }
  return path;
}

class Search {
 public:
  Search(std::shared_ptr<const NotedDevice> device, std::shared_ptr<const Volume> volume, const std::stop_token& stop)
      : device_(std::move(device)), volume_(std::move(volume)), stop_(stop) {
    add(device_->take());
  }

  Result<ListedFiles> run(std::string_view list) {
    DADI_TRY(Directory* const root, directory(kRootInode));
    trail_ = {root};
    const char end = list.find('\0') == list.npos ? '\n' : '\0';
    while (!list.empty()) {
      const std::size_t length = std::min(list.find(end), list.size());
      const std::string_view line = list.substr(0, length);
      list.remove_prefix(std::min(length + 1, list.size()));
      if (line.empty()) continue;
      ++found_.lines;
      something_ = false;
      DADI_CHECK(work(1));
      if (line.size() <= kLongestPath) DADI_CHECK(walk(parse_path(line, /*literal=*/false), 0));
      if (something_) continue;
      if (++found_.missing <= kMostExamples) found_.examples.emplace_back(line);
    }
    return std::move(found_);
  }

 private:
  // One call within another of its kind.
  class Nested {
   public:
    explicit Nested(std::size_t& depth) : depth_(depth) { ++depth_; }
    ~Nested() { --depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

    Result<void> check() const {
      if (depth_ <= kDeepest) return {};
      return Error::exhausted("the list leads through more than {} names after each other", kDeepest);
    }

   private:
    std::size_t& depth_;
  };

  // Which part of a path was gone from which directory already: links between directories, which a damaged file system
  // can have, would lead on forever.
  using Seen = std::set<std::pair<InodeNumber, std::size_t>>;

  Result<void> work(std::uint64_t steps) {
    done_ += steps;
    if (done_ > kMostWork) return Error::exhausted("the list asks to look at too much of the image");
    if (stop_.stop_requested()) return Error::cancelled("stopped");
    return {};
  }

  Result<Known> inode(InodeNumber number) {
    DADI_CHECK(work(1));
    DADI_TRY(Inode inode, volume_->inode(number));
    return Known{std::move(inode), device_->take()};
  }

  // The directory, its entries read once.
  Result<Directory*> directory(InodeNumber number) {
    const auto known = directories_.find(number);
    if (known != directories_.end()) return known->second.get();
    DADI_TRY(Known self, inode(number));
    DADI_TRY(auto entries, volume_->list(self.inode));
    entries_ += entries.size();
    if (entries_ > kMostEntries) return Error::exhausted("the list leads through directories of {} entries", entries_);
    std::ranges::sort(entries, {}, &DirectoryEntry::name);
    std::ranges::move(device_->take(), std::back_inserter(self.reads));
    auto made = std::make_unique<Directory>(Directory{std::move(self), std::move(entries)});
    return (directories_[number] = std::move(made)).get();
  }

  static bool may_be_directory(const DirectoryEntry& entry) {
    return entry.file_type == 0 || entry.file_type == layout::file_type::kDirectory;
  }

  // From the last directory of the trail on.
  Result<void> walk(const Path& path, std::size_t at) {
    Seen seen;
    return walk(path, at, 0, seen);
  }

  Result<void> walk(const Path& path, std::size_t at, int symlinks, Seen& seen) {
    const Nested nested(depth_);
    DADI_CHECK(nested.check());
    Directory& here = *trail_.back();
    DADI_CHECK(work(1));
    if (at == path.size()) return take_all();
    if (!seen.emplace(here.self.inode.number, at).second) return {};
    const Component& component = path[at];
    switch (component.kind) {
      case Component::Kind::kParent:
        return walk_up(path, at, symlinks, seen);
      case Component::Kind::kAnyDirectories:
        return walk_anywhere(path, at, symlinks, seen);
      case Component::Kind::kName: {
        const auto entry = std::ranges::lower_bound(here.entries, component.text, {}, &DirectoryEntry::name);
        if (entry == here.entries.end() || entry->name != component.text) return {};
        return enter(*entry, path, at + 1, symlinks, seen);
      }
      case Component::Kind::kPattern:
        break;
    }
    for (const DirectoryEntry& entry : here.entries) {
      std::uint64_t steps = 1;
      const bool wanted = entry.name == component.text || matches_pattern(component.text, entry.name, steps);
      DADI_CHECK(work(steps));
      if (wanted) DADI_CHECK(enter(entry, path, at + 1, symlinks, seen));
    }
    return {};
  }

  Result<void> walk_up(const Path& path, std::size_t at, int symlinks, Seen& seen) {
    const std::vector<Directory*> before = trail_;
    if (trail_.size() > 1) trail_.pop_back();
    auto walked = walk(path, at + 1, symlinks, seen);
    trail_ = before;
    return walked;
  }

  Result<void> walk_anywhere(const Path& path, std::size_t at, int symlinks, Seen& seen) {
    if (at + 1 == path.size()) return take_all();
    DADI_CHECK(walk(path, at + 1, symlinks, seen));
    for (const DirectoryEntry& entry : trail_.back()->entries) {
      DADI_CHECK(work(1));
      if (!may_be_directory(entry)) continue;
      DADI_TRY(const Known child, inode(entry.inode));
      if (child.inode.attributes.type != FileType::kDirectory) continue;
      DADI_CHECK(go_down(child.inode, [&] { return walk(path, at, symlinks, seen); }).context("{}", entry.name));
    }
    return {};
  }

  // Does something with a directory at the end of the trail.
  template <typename Do>
  Result<void> go_down(const Inode& inode, Do&& something) {
    DADI_TRY(Directory* const below, directory(inode.number));
    trail_.push_back(below);
    auto done = something();
    trail_.pop_back();
    return done;
  }

  // Goes on with the path at what an entry names.
  Result<void> enter(const DirectoryEntry& entry, const Path& path, std::size_t at, int symlinks, Seen& seen) {
    DADI_TRY(Known child, inode(entry.inode).context("{}", entry.name));
    const FileType type = child.inode.attributes.type;
    if (type == FileType::kDirectory)
      return go_down(child.inode, [&] { return walk(path, at, symlinks, seen); }).context("{}", entry.name);
    if (type == FileType::kSymlink) return follow(child, path, at, symlinks);
    if (at == path.size()) return take(child).context("{}", entry.name);
    return {};
  }

  // Goes on where a symlink leads, and notes it if something is there.
  Result<void> follow(Known& link, const Path& path, std::size_t at, int symlinks) {
    if (symlinks == kMostSymlinks) return {};
    DADI_TRY(const std::string target, volume_->read_link(link.inode));
    std::ranges::move(device_->take(), std::back_inserter(link.reads));
    if (target.size() > kLongestPath) return {};
    Path rest = parse_path(target, /*literal=*/true);
    rest.insert(rest.end(), path.begin() + static_cast<std::ptrdiff_t>(at), path.end());
    const std::vector<Directory*> before = trail_;
    links_.push_back(&link);
    links_from_.push_back(before);
    if (target.starts_with('/')) trail_.resize(1);
    Seen seen;
    auto walked = walk(rest, 0, symlinks + 1, seen);
    links_.pop_back();
    links_from_.pop_back();
    trail_ = before;
    return walked;
  }

  // The results so far have what leads here.
  Result<void> note_way() {
    something_ = true;
    for (std::size_t i = 0; i < links_.size(); ++i) {
      note(links_from_[i]);
      if (taken_.insert(links_[i]->inode.number).second) note(*links_[i]);
    }
    note(trail_);
    return places_left();
  }
  void note(const std::vector<Directory*>& trail) {
    for (Directory* const one : trail) note(one->self);
  }
  void note(Known& known) {
    if (!std::exchange(known.noted, true)) add(known.reads);
  }
  void add(const Places& places) { found_.places.insert(found_.places.end(), places.begin(), places.end()); }

  Result<void> places_left() const {
    if (found_.places.size() <= kMostPlaces) return {};
    return Error::exhausted("the files of the list lie in more than {} places", kMostPlaces);
  }

  // A file, or anything else that is no directory.
  Result<void> take(Known& known) {
    DADI_CHECK(note_way());
    if (!taken_.insert(known.inode.number).second) return {};
    const FileType type = known.inode.attributes.type;
    if (type == FileType::kSymlink) {
      DADI_CHECK(volume_->read_link(known.inode));
      std::ranges::move(device_->take(), std::back_inserter(known.reads));
    }
    if (type != FileType::kRegular) {
      note(known);
      return places_left();
    }
    DADI_TRY(const auto extents, volume_->extents(known.inode));
    std::ranges::move(device_->take(), std::back_inserter(known.reads));
    note(known);
    ++found_.files;
    const std::uint64_t block_size = volume_->superblock().block_size;
    const std::uint64_t blocks = divide_up(known.inode.size.value, block_size);
    for (const FileExtent& extent : extents) {
      if (extent.unwritten || extent.logical >= blocks) continue;
      const std::uint64_t count = std::min(extent.count, blocks - extent.logical);
      found_.places.push_back({{extent.physical * block_size}, {count * block_size}});
    }
    return places_left();
  }

  // Everything below the last directory of the trail.
  Result<void> take_all() {
    const Nested nested(depth_);
    DADI_CHECK(nested.check());
    DADI_CHECK(note_way());
    const Directory& here = *trail_.back();
    if (!taken_.insert(here.self.inode.number).second) return {};
    for (const DirectoryEntry& entry : here.entries) {
      DADI_TRY(Known child, inode(entry.inode).context("{}", entry.name));
      if (child.inode.attributes.type == FileType::kDirectory) {
        DADI_CHECK(go_down(child.inode, [&] { return take_all(); }).context("{}", entry.name));
      } else {
        DADI_CHECK(take(child).context("{}", entry.name));
      }
    }
    return {};
  }

  const std::shared_ptr<const NotedDevice> device_;
  const std::shared_ptr<const Volume> volume_;
  const std::stop_token& stop_;
  std::unordered_map<InodeNumber, std::unique_ptr<Directory>> directories_;
  std::vector<Directory*> trail_;                    // from the root to where the walk stands
  std::vector<Known*> links_;                        // that the walk came through
  std::vector<std::vector<Directory*>> links_from_;  // the trail of each
  std::unordered_set<InodeNumber> taken_;            // as a whole
  std::size_t depth_ = 0;
  std::uint64_t done_ = 0;
  std::size_t entries_ = 0;
  bool something_ = false;  // of this line
  ListedFiles found_;
};

}  // namespace

Result<ListedFiles> find_listed_files(const std::shared_ptr<const BlockReader>& device, std::string_view list,
                                      const std::stop_token& stop) {
  const auto noted = std::make_shared<NotedDevice>(device);
  DADI_TRY(auto volume, Volume::open(noted));
  return Search(noted, std::move(volume), stop).run(list);
}

}  // namespace dadi::fs
