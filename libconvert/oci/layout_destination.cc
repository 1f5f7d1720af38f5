#include "libconvert/oci/layout_destination.h"

#include <mutex>
#include <set>

#include "libconvert/oci/json.h"
#include "libconvert/oci/layout_source.h"
#include "libconvert/oci/staged_blobs.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi::oci {

namespace {

namespace fs = std::filesystem;

constexpr char kLockFile[] = ".dadi.lock";

bool has_size(const fs::path& path, Bytes size) {
  std::error_code failure;
  const auto found = fs::file_size(path, failure);  // of a regular file only
  return !failure && found == size.value;
}

Result<void> rename_file(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return Error::from_errno(errno, fmt::format("rename {} to {}", from.string(), to.string()));
  return {};
}

// Files that were given their final names, taken away again unless all goes well.
class Published {
 public:
  ~Published() {
    for (const fs::path& path : paths_) ::unlink(path.c_str());
  }
  void add(fs::path path) { paths_.push_back(std::move(path)); }
  void keep() { paths_.clear(); }

 private:
  std::vector<fs::path> paths_;
};

class LayoutDestination final : public ImageDestination {
 public:
  LayoutDestination(fs::path folder, std::string tag, CreatedFolders created, StagedBlobs staged)
      : folder_(std::move(folder)), tag_(std::move(tag)), created_(std::move(created)), staged_(std::move(staged)) {}

  Result<std::unique_ptr<BlobSink>> create_blob(Bytes head_size) override { return staged_.create(head_size); }
  Finished on_finished(Finished told) override { return staged_.on_finished(std::move(told)); }

  Result<bool> has_blob(const Digest& digest, Bytes size) override {
    if (staged_.contains(digest, size)) return true;
    if (!has_size(folder_ / blob_path(digest), size)) return false;
    const std::lock_guard lock(mutex_);
    relied_on_.insert({digest, size});
    return true;
  }

  Result<void> commit(const Descriptor& root) override {
    DADI_TRY(const FileLock lock, FileLock::acquire(folder_ / kLockFile));
    // Somebody's garbage collection may have been here since has_blob() was asked.
    relied_on_.insert({root.digest, root.size});
    for (const auto& [digest, size] : relied_on_)
      if (!staged_.contains(digest, size) && !has_size(folder_ / blob_path(digest), size))
        return Error::io("blob {} is not in {} any more", digest.to_string(), folder_.string());
    // Taken away again, unless all goes well, from the last to the first.
    Published layout_file;
    DADI_CHECK(publish_layout_file(layout_file));
    DADI_TRY(auto blob_folders, CreatedFolders::create(folder_ / "blobs" / "sha256"));
    Published published;
    DADI_CHECK(publish_blobs(published));
    DADI_CHECK(publish_index(root));
    // From here on the image is there; only its durability is left.
    published.keep();
    blob_folders.keep();
    layout_file.keep();
    DADI_CHECK(sync_directory(folder_));
    for (const fs::path& parent : created_.parents()) DADI_CHECK(sync_directory(parent));
    created_.keep();
    // Whoever made the folder may have been killed before that was durable. If it was somebody else, that is not ours.
    auto durable = sync_directory(folder_.has_parent_path() ? folder_.parent_path() : ".");
    return !durable && durable.error().code() == ErrorCode::kDenied ? Result<void>() : durable;
  }

 private:
  // First, and durable before all else: a folder with blobs that is no layout would be somebody else's to the next run.
  Result<void> publish_layout_file(Published& published) {
    if (FolderTree(folder_).contains(kLayoutFile)) return {};
    DADI_TRY(const fs::path staged, staged_.write_document(kLayoutFile, kLayoutContent));
    DADI_CHECK(rename_file(staged, folder_ / kLayoutFile));
    published.add(folder_ / kLayoutFile);
    return sync_directory(folder_);
  }

  Result<void> publish_blobs(Published& published) {
    DADI_TRY(const auto blobs, staged_.list());
    for (const StagedBlobs::Blob& blob : blobs) {
      const fs::path target = folder_ / blob_path(blob.digest);
      if (has_size(target, blob.size)) continue;
      DADI_CHECK(rename_file(blob.path, target));
      published.add(target);
    }
    for (const fs::path& made : {folder_ / "blobs" / "sha256", folder_ / "blobs", folder_})
      DADI_CHECK(sync_directory(made));
    return {};
  }

  // index.json, which makes the image visible.
  Result<void> publish_index(const Descriptor& root) {
    const FolderTree tree(folder_);
    std::vector<std::byte> before;
    if (tree.contains(kIndexFile)) {
      DADI_TRY(before, read_file(tree, kIndexFile, kIndexLimit));
    }
    DADI_TRY(const std::string after, index_with(as_text(before), root, tag_).context("index.json"));
    if (after == as_text(before)) return {};
    DADI_TRY(const fs::path staged, staged_.write_document(kIndexFile, after));
    return rename_file(staged, folder_ / kIndexFile);
  }

  fs::path folder_;
  std::string tag_;
  CreatedFolders created_;  // removed after what is staged in them
  StagedBlobs staged_;
  std::mutex mutex_;
  std::set<std::pair<Digest, Bytes>> relied_on_;
};

// A layout, or nothing yet: not somebody's folder of other things.
Result<void> check_folder(const fs::path& folder) {
  const FolderTree tree(folder);
  if (tree.contains(kLayoutFile)) {
    DADI_CHECK(check_layout_version(tree));
    if (!tree.contains(kIndexFile)) return {};
    DADI_TRY(const auto bytes, read_file(tree, kIndexFile, kIndexLimit));
    DADI_CHECK(parse_json(bytes).context("index.json"));
    return {};
  }
  std::error_code failure;
  for (auto at = fs::directory_iterator(folder, failure); !failure && at != fs::directory_iterator();
       at.increment(failure)) {
    const std::string name = at->path().filename().string();
    if (!name.starts_with('.') && name != "lost+found")
      return Error::invalid_argument("{} is neither an OCI layout nor empty: \"{}\" is in it", folder.string(), name)
          .with_hint("name another folder, or one that does not exist");
  }
  if (failure) return Error::from_errno(failure.value(), fmt::format("read {}", folder.string()));
  return {};
}

}  // namespace

Result<std::unique_ptr<ImageDestination>> open_layout_destination(const fs::path& folder, const std::string& tag) {
  for (;;) {
    DADI_TRY(CreatedFolders created, CreatedFolders::create(folder));
    auto lock = FileLock::acquire(folder / kLockFile);
    // Another process that had made the folder gave up, and removed it.
    if (!lock && lock.error().code() == ErrorCode::kNotFound) continue;
    if (!lock) return std::move(lock).error();
    DADI_CHECK(check_folder(folder));
    DADI_TRY(StagedBlobs staged, StagedBlobs::create(folder, FileBlobSink::Durable::kContent));
    return std::unique_ptr<ImageDestination>(
        std::make_unique<LayoutDestination>(folder, tag, std::move(created), std::move(staged)));
  }
}

Result<std::string> index_with(std::string_view index, const Descriptor& root, const std::string& tag) {
  Json json = Json::object({{"schemaVersion", 2}, {"mediaType", kOciIndex}, {"manifests", Json::array()}});
  if (!index.empty()) {
    DADI_TRY(json, parse_json(as_bytes(index)));
  }
  DADI_TRY(const JsonObject document, JsonObject::of(json, "index"));
  DADI_CHECK(document.array("manifests"));
  Descriptor tagged = root;
  if (!tag.empty()) tagged.annotations[kRefName] = tag;
  Json entries = Json::array();
  bool placed = false;
  if (const Json* before = document.find("manifests"); before != nullptr) {
    for (const Json& entry : *before) {
      DADI_TRY(const JsonObject object, JsonObject::of(entry, "index: an entry"));
      DADI_TRY(const Annotations annotations, object.annotations("annotations"));
      const auto name = annotations.find(kRefName);
      DADI_TRY(const std::string digest, object.text("digest"));
      const bool replaced = tag.empty() ? name == annotations.end() && digest == root.digest.to_string()
                                        : name != annotations.end() && name->second == tag;
      if (!replaced) {
        entries.push_back(entry);
      } else if (!placed) {
        entries.push_back(to_json(tagged));
        placed = true;
      }
    }
  }
  if (!placed) entries.push_back(to_json(tagged));
  json["manifests"] = std::move(entries);
  return dump_json(json);
}

}  // namespace dadi::oci
