#include "libconvert/oci/archive_destination.h"

#include "libconvert/oci/layout_destination.h"
#include "libconvert/oci/layout_source.h"
#include "libconvert/oci/staged_blobs.h"
#include "libconvert/oci/tar_writer.h"
#include "libconvert/oci/verified_source.h"
#include "libformat/blob/file_blob.h"

namespace dadi::oci {

namespace {

namespace fs = std::filesystem;

class ArchiveDestination final : public ImageDestination {
 public:
  ArchiveDestination(fs::path file, std::string tag, StagedBlobs staged)
      : file_(std::move(file)), tag_(std::move(tag)), staged_(std::move(staged)) {}

  Result<std::unique_ptr<BlobSink>> create_blob(Bytes head_size) override { return staged_.create(head_size); }
  Finished on_finished(Finished told) override { return staged_.on_finished(std::move(told)); }
  Result<bool> has_blob(const Digest& digest, Bytes size) override { return staged_.contains(digest, size); }

  Result<void> commit(const Descriptor& root) override {
    if (!staged_.contains(root.digest, root.size))
      return Error::internal("{} was not written", root.digest.to_string());
    DADI_TRY(const auto sink, FileBlobSink::create(staged_.folder(), {0}, [](const Digest&) { return kArchive; }));
    DADI_CHECK(write_archive(*sink, root));
    DADI_CHECK(sink->finish({}));
    if (::rename((staged_.folder() / kArchive).c_str(), file_.c_str()) != 0)
      return Error::from_errno(errno, fmt::format("rename to {}", file_.string()));
    return sync_directory(staged_.folder().parent_path());
  }

 private:
  static constexpr char kArchive[] = "archive.tar";

  Result<void> write_archive(ByteSink& sink, const Descriptor& root) {
    DADI_TRY(const std::string index, index_with("", root, tag_));
    TarWriter tar(sink);
    DADI_CHECK(tar.text(kLayoutFile, kLayoutContent));
    DADI_CHECK(tar.text(kIndexFile, index));
    DADI_CHECK(tar.folder("blobs/"));
    DADI_CHECK(tar.folder("blobs/sha256/"));
    DADI_TRY(const auto blobs, staged_.list());
    for (const StagedBlobs::Blob& blob : blobs) {
      DADI_TRY(SharedBlob content, FileBlob::open(blob.path));
      BlobStream stream(std::move(content));
      DADI_CHECK(tar.file(blob_path(blob.digest), blob.size, stream));
      ::unlink(blob.path.c_str());  // its copy is in the archive: the space is needed for the next
    }
    return tar.finish();
  }

  fs::path file_;
  std::string tag_;
  StagedBlobs staged_;
};

}  // namespace

Result<std::unique_ptr<ImageDestination>> open_archive_destination(const fs::path& file, const std::string& tag) {
  std::error_code ignored;
  if (fs::is_directory(file, ignored)) return Error::invalid_argument("{} is a folder", file.string());
  const fs::path parent = file.has_parent_path() ? file.parent_path() : ".";
  DADI_TRY(StagedBlobs staged, StagedBlobs::create(parent, FileBlobSink::Durable::kNothing));
  return std::unique_ptr<ImageDestination>(std::make_unique<ArchiveDestination>(file, tag, std::move(staged)));
}

}  // namespace dadi::oci
