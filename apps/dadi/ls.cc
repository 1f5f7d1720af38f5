// dadi ls REF [PATH]
#include <algorithm>
#include <unordered_set>

#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/file_facts.h"
#include "apps/dadi/printable.h"
#include "apps/dadi/table.h"
#include "libfs/ext4/volume.h"

namespace dadi {
namespace {

struct LsOptions {
  ImageOptions image;
  std::string path = "/";
  bool detailed = false;
  bool recursive = false;
};

// One line of the listing.
struct Entry {
  std::string path;  // below what is listed
  fs::Inode inode;
  std::string target;  // of a symlink
};

class Listing {
 public:
  Listing(const Session& session, const fs::Volume& volume, const LsOptions& options)
      : session_(session), volume_(volume), options_(options) {}

  Result<std::vector<Entry>> collect() {
    DADI_TRY(fs::Inode start, volume_.resolve(options_.path, /*follow_last=*/false));
    if (start.attributes.type == fs::FileType::kSymlink && !options_.detailed) {
      // As ls does: a link on the command line stands for where it leads, if it leads anywhere.
      if (auto followed = volume_.resolve(options_.path, /*follow_last=*/true)) start = *followed;
    }
    if (start.attributes.type != fs::FileType::kDirectory) {
      DADI_CHECK(add(options_.path, start));
    } else {
      pending_.emplace_back("", start);
      seen_.insert(start.number);
    }
    while (!pending_.empty()) {
      const auto [prefix, directory] = std::move(pending_.back());
      pending_.pop_back();
      DADI_CHECK(list(prefix, directory));
    }
    std::ranges::sort(entries_, {}, &Entry::path);
    return std::move(entries_);
  }

 private:
  Result<void> list(const std::string& prefix, const fs::Inode& directory) {
    if (session_.stop().stop_requested()) return Error::cancelled("stopped");
    DADI_TRY(const auto children, volume_.list(directory).context("/{}", prefix));
    for (const fs::DirectoryEntry& child : children) {
      DADI_TRY(const fs::Inode inode, volume_.inode(child.inode).context("{}{}", prefix, child.name));
      DADI_CHECK(add(prefix + child.name, inode));
      if (!options_.recursive || inode.attributes.type != fs::FileType::kDirectory) continue;
      if (!seen_.insert(inode.number).second) {
        return Error::corruption("{}{}: a directory that is in two places", prefix, child.name);
      }
      pending_.emplace_back(prefix + child.name + "/", inode);
    }
    return {};
  }

  Result<void> add(std::string path, const fs::Inode& inode) {
    Entry entry{std::move(path), inode, ""};
    if (inode.attributes.type == fs::FileType::kSymlink) {
      DADI_TRY(entry.target, volume_.read_link(inode).context("{}", entry.path));
    }
    entries_.push_back(std::move(entry));
    return {};
  }

  const Session& session_;
  const fs::Volume& volume_;
  const LsOptions& options_;
  std::vector<Entry> entries_;
  std::vector<std::pair<std::string, fs::Inode>> pending_;  // directories, and what stands before their children
  std::unordered_set<fs::InodeNumber> seen_;  // directories: in a damaged file system they may form a ring
};

bool is_device(const fs::Attributes& attributes) {
  return attributes.type == fs::FileType::kCharacterDevice || attributes.type == fs::FileType::kBlockDevice;
}

Json to_json(const Entry& entry) {
  Json object = {{"path", as_utf8(entry.path)}};
  object.update(attributes_json(entry.inode.attributes));
  object["size"] = entry.inode.size.value;
  object["links"] = entry.inode.links;
  object["inode"] = entry.inode.number;
  if (entry.inode.attributes.type == fs::FileType::kSymlink) object["target"] = as_utf8(entry.target);
  return object;
}

std::string detailed_listing(const Session& session, const std::vector<Entry>& entries) {
  using enum Table::Align;
  Table table(
      {{"MODE"}, {"LINKS", kRight}, {"UID", kRight}, {"GID", kRight}, {"SIZE", kRight}, {"MODIFIED"}, {"NAME"}});
  for (const Entry& entry : entries) {
    const fs::Attributes& attributes = entry.inode.attributes;
    const std::string size = is_device(attributes)
                                 ? fmt::format("{}, {}", attributes.device_major, attributes.device_minor)
                                 : fmt::format("{}", entry.inode.size.value);
    std::string name = session.shown(entry.path);
    if (attributes.type == fs::FileType::kSymlink) name += " -> " + session.shown(entry.target);
    table.add({mode_text(attributes), std::to_string(entry.inode.links), std::to_string(attributes.uid),
               std::to_string(attributes.gid), size, local_time(attributes.mtime), name});
  }
  return table.render();
}

Result<void> list(Session& session, const LsOptions& options) {
  DADI_TRY(const auto device, open_device(session, options.image));
  DADI_TRY(const auto volume, fs::Volume::open(device));
  DADI_TRY(const auto entries, Listing(session, *volume, options).collect());
  if (session.options.json) {
    Json all = Json::array();
    for (const Entry& entry : entries) all.push_back(to_json(entry));
    session.answer(all);
  } else if (options.detailed) {
    session.out().text(detailed_listing(session, entries));
  } else {
    for (const Entry& entry : entries) session.out().print("{}\n", session.shown(entry.path));
  }
  return {};
}

}  // namespace

void add_ls(CommandLine& line, Session& session) {
  auto& options = session.keep<LsOptions>();
  auto command = line.add("ls", "List a directory of a converted image, without mounting it",
                          "dadi ls oci:debian-dadi /etc\n"
                          "dadi ls -l oci:debian-dadi /etc/os-release\n"
                          "dadi ls -R oci:debian-dadi /usr/share | head");
  add_image_options(command, options.image);
  command.optional_argument("PATH", options.path, "Directory or file in the image")
      .flag("-l", options.detailed, "Mode, links, owner, size, time and link target, too")
      .flag("-R,--recursive", options.recursive, "Descend into directories");
  command.run([&] { session.finish(list(session, options).context("ls {}", options.image.reference)); });
}

}  // namespace dadi
