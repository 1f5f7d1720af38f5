#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <stop_token>
#include <thread>

#include "libconvert/oci/manifest.h"
#include "libconvert/oci/staged_blobs.h"
#include "libconvert/registry/image_store.h"
#include "libconvert/registry/repository.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi::registry {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kUploadsAtOnce = 3;
constexpr int kMostNesting = 8;

// Uploads files while others are being written. The first failure is kept; the rest is then left undone, and what is
// under way then, or when this goes, is broken off.
class Uploads {
 public:
  // `stop`: that of the repository's requests.
  Uploads(Repository& repository, std::stop_source stop) : repository_(repository), stop_(std::move(stop)) {}
  ~Uploads() { end(); }

  void add(fs::path path, const BlobIdentity& identity) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(path), identity});
    if (threads_.size() < kUploadsAtOnce) threads_.emplace_back([this] { work(); });
    wake_.notify_one();
  }

  // Waits for all.
  Result<void> finish() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return waiting_.empty() && running_ == 0; });
    return status_;
  }
  Result<void> status() {
    const std::lock_guard lock(mutex_);
    return status_;
  }

 private:
  struct Job {
    fs::path path;
    BlobIdentity identity;
  };

  void end() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      waiting_.clear();
      wake_.notify_all();
    }
    stop_.request_stop();
    threads_.clear();
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return ended_ || !waiting_.empty(); });
      if (ended_) return;
      const Job job = std::move(waiting_.front());
      waiting_.pop_front();
      if (!status_) {
        wake_.notify_all();
        continue;
      }
      ++running_;
      lock.unlock();
      auto done = repository_.put_blob(job.path, job.identity.digest, job.identity.size);
      if (done) ::unlink(job.path.c_str());
      lock.lock();
      --running_;
      if (status_ && !done) {
        status_ = std::move(done);
        stop_.request_stop();
      }
      wake_.notify_all();
    }
  }

  Repository& repository_;
  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> waiting_;
  std::size_t running_ = 0;
  bool ended_ = false;
  Result<void> status_;
  std::vector<std::jthread> threads_;
};

class RegistryDestination final : public oci::ImageDestination {
 public:
  RegistryDestination(const Access& access, const oci::Reference& reference, oci::StagedBlobs staged)
      : asked_(access.stop, [stop = stop_]() mutable { stop.request_stop(); }),
        repository_(with_stop(access, stop_), reference.host, reference.repository, Purpose::kPush),
        tag_(reference.tag),
        digest_(reference.digest),
        mount_from_(access.mount_from),
        staged_(std::move(staged)),
        uploads_(repository_, stop_) {}

  Repository& repository() { return repository_; }

  Result<std::unique_ptr<BlobSink>> create_blob(Bytes head_size) override {
    DADI_CHECK(uploads_.status());
    DADI_TRY(auto sink, staged_.create(head_size));
    return std::unique_ptr<BlobSink>(std::make_unique<Sink>(*this, std::move(sink)));
  }

  Finished on_finished(Finished told) override { return staged_.on_finished(std::move(told)); }

  Result<bool> has_blob(const Digest& digest, Bytes size) override {
    auto there = look_for(digest, size);
    // An upload that fails stops all requests: it is what went wrong.
    if (!there && there.error().code() == ErrorCode::kCancelled) DADI_CHECK(uploads_.status());
    return there;
  }

  Result<void> commit(const oci::Descriptor& root) override {
    if (digest_ && *digest_ != root.digest)
      return Error::invalid_argument("the image is {}, and cannot be written as {}", root.digest.to_string(),
                                     digest_->to_string());
    DADI_TRY(std::string bytes, read_manifest(root));
    DADI_CHECK(take(root, std::move(bytes), 0));
    DADI_CHECK(uploads_.finish());
    const StagedManifest top = std::move(manifests_.back());
    manifests_.pop_back();
    for (const StagedManifest& manifest : manifests_) DADI_CHECK(put(manifest.described.digest.to_string(), manifest));
    return put(!tag_.empty() ? tag_ : root.digest.to_string(), top);
  }

 private:
  Result<bool> look_for(const Digest& digest, Bytes size) {
    if (staged_.contains(digest, size)) return true;  // of this image
    {
      const std::lock_guard lock(mutex_);
      if (there_.contains(digest)) return true;
    }
    DADI_TRY(bool there, repository_.has_blob(digest, size));
    if (!there && !mount_from_.empty()) {
      DADI_TRY(there, repository_.mount_blob(digest, mount_from_));
    }
    if (there) {
      const std::lock_guard lock(mutex_);
      there_.insert(digest);
    }
    return there;
  }

  // Documents wait until commit() knows which of them are manifests; whatever is larger than one can be goes at once.
  class Sink final : public BlobSink {
   public:
    Sink(RegistryDestination& destination, std::unique_ptr<BlobSink> file)
        : destination_(destination), file_(std::move(file)) {}

    Result<void> write(std::span<const std::byte> data) override { return file_->write(data); }
    Result<BlobIdentity> finish(std::span<const std::byte> head) override {
      DADI_TRY(const BlobIdentity identity, file_->finish(head));
      if (identity.size > oci::kManifestLimit) destination_.upload(identity);
      return identity;
    }

   private:
    RegistryDestination& destination_;
    std::unique_ptr<BlobSink> file_;
  };

  struct StagedManifest {
    oci::Descriptor described;
    std::string bytes;
    std::optional<oci::Descriptor> subject;
  };

  void upload(const BlobIdentity& identity) {
    const std::lock_guard lock(mutex_);
    if (there_.insert(identity.digest).second) uploads_.add(staged_.folder() / identity.digest.hex(), identity);
  }

  Result<std::string> read_manifest(const oci::Descriptor& descriptor) const {
    DADI_TRY(const auto file, FileBlob::open(staged_.folder() / descriptor.digest.hex()));
    if (file->size() > oci::kManifestLimit) return Error::unsupported("a manifest of {} bytes", file->size().value);
    DADI_TRY(const auto bytes, read_range(*file, {0}, file->size()));
    return std::string(as_text(bytes));
  }

  // What the document refers to, and the document: blobs are uploaded, manifests kept for afterwards, those below
  // first.
  Result<void> take(const oci::Descriptor& descriptor, std::string bytes, int depth) {
    if (depth > kMostNesting) return Error::unsupported("indexes nested deeper than {}", kMostNesting);
    oci::Descriptor described{
        .media_type = descriptor.media_type, .digest = descriptor.digest, .size = descriptor.size};
    if (oci::is_index(descriptor.media_type)) {
      DADI_TRY(oci::Index index, oci::Index::parse(as_bytes(bytes), descriptor.media_type));
      for (const oci::Descriptor& child : index.manifests) {
        if (!staged_.contains(child.digest, child.size)) continue;
        DADI_TRY(std::string below, read_manifest(child));
        DADI_CHECK(take(child, std::move(below), depth + 1));
      }
      described.artifact_type = std::move(index.artifact_type);
      described.annotations = std::move(index.annotations);
      manifests_.push_back({std::move(described), std::move(bytes), std::move(index.subject)});
      return {};
    }
    DADI_TRY(oci::Manifest manifest, oci::Manifest::parse(as_bytes(bytes), descriptor.media_type));
    std::vector<oci::Descriptor> blobs = manifest.layers;
    blobs.push_back(manifest.config);
    for (const oci::Descriptor& blob : blobs)
      if (staged_.contains(blob.digest, blob.size)) upload({blob.digest, blob.size});
    described.artifact_type =
        manifest.artifact_type.empty() ? manifest.config.media_type : std::move(manifest.artifact_type);
    described.annotations = std::move(manifest.annotations);
    manifests_.push_back({std::move(described), std::move(bytes), std::move(manifest.subject)});
    return {};
  }

  Result<void> put(const std::string& name, const StagedManifest& manifest) {
    DADI_TRY(const bool listed,
             repository_.put_manifest(name, as_bytes(manifest.bytes), manifest.described.media_type));
    if (listed || !manifest.subject) return {};
    return repository_.add_referrer(manifest.subject->digest, manifest.described);
  }

  static Access with_stop(Access access, const std::stop_source& stop) {
    access.stop = stop.get_token();
    return access;
  }

  std::stop_source stop_;                            // of all requests
  std::stop_callback<std::function<void()>> asked_;  // by who wants the whole to stop
  Repository repository_;
  std::string tag_;
  std::optional<Digest> digest_;
  std::string mount_from_;
  oci::StagedBlobs staged_;
  std::mutex mutex_;
  std::set<Digest> there_;                 // in the repository, or on their way
  std::vector<StagedManifest> manifests_;  // of the image, each after those it lists
  Uploads uploads_;                        // last: ended before what it works on is gone
};

}  // namespace

Result<std::unique_ptr<oci::ImageDestination>> open_destination(const oci::Reference& reference, const Access& access) {
  if (reference.kind != oci::Reference::Kind::kRegistry) return oci::open_destination(reference);
  std::error_code failure;
  const fs::path parent = access.staging.empty() ? fs::temp_directory_path(failure) : access.staging;
  if (failure) return Error::from_errno(failure.value(), "find a folder for temporary files");
  DADI_TRY(oci::StagedBlobs staged, oci::StagedBlobs::create(parent, FileBlobSink::Durable::kNothing));
  auto destination = std::make_unique<RegistryDestination>(access, reference, std::move(staged));
  // Better now than after the work.
  DADI_CHECK(destination->repository().ping());
  return std::unique_ptr<oci::ImageDestination>(std::move(destination));
}

Result<std::unique_ptr<oci::ImageDestination>> open_referrer_destination(const oci::Reference& reference,
                                                                         const Access& access) {
  if (reference.kind != oci::Reference::Kind::kRegistry) return oci::open_referrer_destination(reference);
  oci::Reference unnamed = reference;
  unnamed.tag.clear();
  unnamed.digest.reset();
  return open_destination(unnamed, access);
}

}  // namespace dadi::registry
