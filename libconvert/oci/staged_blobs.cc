#include "libconvert/oci/staged_blobs.h"

#include <algorithm>

#include "libformat/base/bytes.h"

namespace dadi::oci {

namespace {

// Tells where a finished file is.
class TellingSink final : public BlobSink {
 public:
  TellingSink(std::unique_ptr<BlobSink> file, std::filesystem::path folder, ImageDestination::Finished told)
      : file_(std::move(file)), folder_(std::move(folder)), told_(std::move(told)) {}

  Result<void> write(std::span<const std::byte> data) override { return file_->write(data); }
  Result<BlobIdentity> finish(std::span<const std::byte> head) override {
    DADI_TRY(const BlobIdentity blob, file_->finish(head));
    told_(folder_ / blob.digest.hex(), blob);
    return blob;
  }

 private:
  std::unique_ptr<BlobSink> file_;
  std::filesystem::path folder_;
  ImageDestination::Finished told_;
};

}  // namespace

Result<StagedBlobs> StagedBlobs::create(const std::filesystem::path& parent, FileBlobSink::Durable durable) {
  DADI_TRY(StagingFolder folder, StagingFolder::create(parent));
  return StagedBlobs(std::move(folder), durable);
}

Result<std::unique_ptr<BlobSink>> StagedBlobs::create(Bytes head_size) const {
  DADI_TRY(auto sink, FileBlobSink::create(folder(), head_size, &Digest::hex, durable_));
  if (!told_) return std::unique_ptr<BlobSink>(std::move(sink));
  return std::unique_ptr<BlobSink>(std::make_unique<TellingSink>(std::move(sink), folder(), told_));
}

bool StagedBlobs::contains(const Digest& digest, Bytes size) const {
  std::error_code failure;
  const auto found = std::filesystem::file_size(folder() / digest.hex(), failure);
  return !failure && found == size.value;
}

Result<std::vector<StagedBlobs::Blob>> StagedBlobs::list() const {
  std::vector<Blob> blobs;
  std::error_code failure;
  for (auto at = std::filesystem::directory_iterator(folder(), failure);
       !failure && at != std::filesystem::directory_iterator(); at.increment(failure)) {
    const auto digest = Digest::parse("sha256:" + at->path().filename().string());
    if (!digest) continue;  // the lock, or a blob that is not finished
    const auto size = at->file_size(failure);
    if (failure) break;
    blobs.push_back({*digest, {size}, at->path()});
  }
  if (failure) return Error::from_errno(failure.value(), fmt::format("read {}", folder().string()));
  std::ranges::sort(blobs, {}, &Blob::digest);
  return blobs;
}

Result<std::filesystem::path> StagedBlobs::write_document(std::string_view name, std::string_view content) const {
  const auto namer = [&](const Digest&) { return std::string(name); };
  DADI_TRY(const auto sink, FileBlobSink::create(folder(), {0}, namer, durable_));
  DADI_CHECK(sink->write(as_bytes(content)));
  DADI_CHECK(sink->finish({}));
  return folder() / name;
}

}  // namespace dadi::oci
