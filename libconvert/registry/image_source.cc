#include <atomic>
#include <chrono>
#include <map>
#include <mutex>

#include "libconvert/oci/manifest.h"
#include "libconvert/oci/media_types.h"
#include "libconvert/oci/verified_source.h"
#include "libconvert/registry/image_store.h"
#include "libconvert/registry/mirrors.h"
#include "libconvert/registry/remote_blob.h"
#include "libconvert/registry/repository.h"
#include "libformat/blob/memory_blob.h"

namespace dadi::registry {

namespace {

constexpr Bytes kSmall{1 << 20};  // a config that is kept
constexpr int kTriesOfMirrors = 2;
constexpr std::chrono::seconds kReadTimeOfMirrors{3};
constexpr std::chrono::seconds kRestOfMirrors{30};  // after which one that did not answer is asked again

// One that answered, then those that can be asked in its stead.
using Repositories = std::vector<std::shared_ptr<Repository>>;

// A blob from the first repository that has it; one that fails on the way is followed by the next. Borrows them.
class FirstThatAnswers final : public ByteSource {
 public:
  FirstThatAnswers(const Repositories& repositories, const oci::Descriptor& blob)
      : repositories_(repositories), digest_(blob.digest), size_(blob.size) {}

  Result<void> open() {
    for (;; ++current_) {
      auto stream = repositories_[current_]->stream_blob(digest_, size_, position_);
      if (stream) {
        stream_ = std::move(*stream);
        return {};
      }
      if (is_final(stream.error())) return std::move(stream).error();
    }
  }

  Result<std::span<const std::byte>> next() override {
    for (;;) {
      auto piece = stream_->next();
      if (piece) position_ += Bytes{piece->size()};
      if (piece || is_final(piece.error())) return piece;
      ++current_;
      DADI_CHECK(open());
    }
  }

 private:
  bool is_final(const Error& error) const {
    return error.code() == ErrorCode::kCancelled || current_ + 1 == repositories_.size();
  }

  const Repositories& repositories_;
  Digest digest_;
  Bytes size_;
  std::size_t current_ = 0;
  std::unique_ptr<ByteSource> stream_;
  Bytes position_;
};

// Which repositories are left alone for a while, because they did not answer. Thread-safe.
class Rests {
 public:
  explicit Rests(std::size_t repositories) : until_(repositories) {}

  bool includes(std::size_t number) const { return until_[number].load() > Clock::now(); }
  void begin(std::size_t number) { until_[number] = Clock::now() + kRestOfMirrors; }

 private:
  using Clock = std::chrono::steady_clock;
  std::vector<std::atomic<Clock::time_point>> until_;
};

// How much of a read came from whoever was asked for it, so that the next is asked for the rest.
class Arrived final : public ReadProgress {
 public:
  explicit Arrived(ReadProgress* waiting) : waiting_(waiting) {}

  // Another is asked, for what follows.
  void begin() { before_ = bytes_; }
  void arrived(std::size_t bytes) override {
    bytes_ = before_ + bytes;
    if (waiting_ != nullptr) waiting_->arrived(bytes_);
  }
  std::size_t bytes() const { return bytes_; }

 private:
  ReadProgress* const waiting_;
  std::size_t before_ = 0;
  std::size_t bytes_ = 0;
};

// A blob at random, from the first repository that gives what is asked for. What was damaged is asked of the last: it
// is the registry itself, and a mirror may give the same again.
class FirstThatReads final : public BlobReader {
 public:
  // `rests`: of the repositories, for all blobs.
  FirstThatReads(const Repositories& repositories, std::shared_ptr<Rests> rests, const oci::Descriptor& blob)
      : size_(blob.size), rests_(std::move(rests)) {
    for (const auto& repository : repositories)
      blobs_.push_back(std::make_unique<RemoteBlob>(repository, blob.digest, blob.size));
  }

  Bytes size() const override { return size_; }
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override {
    const std::size_t last = blobs_.size() - 1;
    Arrived arrived(context.progress);
    ReadContext counted = context;
    counted.progress = &arrived;
    const auto read_rest = [&](std::size_t i) {
      arrived.begin();
      return blobs_[i]->read_at(offset + Bytes{arrived.bytes()}, out.subspan(arrived.bytes()), counted);
    };
    for (std::size_t i = context.anew ? last : 0; i < last; ++i) {
      if (rests_->includes(i)) continue;
      auto read = read_rest(i);
      if (read || context.memory_only || read.error().code() == ErrorCode::kCancelled) return read;
      if (read.error().code() == ErrorCode::kUnavailable) rests_->begin(i);
    }
    return read_rest(last);
  }

 private:
  const Bytes size_;
  const std::shared_ptr<Rests> rests_;
  std::vector<std::unique_ptr<RemoteBlob>> blobs_;
};

class RegistrySource final : public oci::ImageSource {
 public:
  RegistrySource(Repositories repositories, FetchedManifest root)
      : repositories_(std::move(repositories)),
        root_(std::move(root.descriptor)),
        rests_(std::make_shared<Rests>(repositories_.size())),
        documents_(repositories_.front()->access().documents) {
    documents_.emplace(root_.digest.to_string(), std::move(root.bytes));
  }

  const oci::Descriptor& root() const override { return root_; }

  Result<SharedBlob> open_blob(const oci::Descriptor& descriptor) const override {
    return std::make_shared<FirstThatReads>(repositories_, rests_, descriptor);
  }

  Result<std::unique_ptr<ByteSource>> stream_blob(const oci::Descriptor& descriptor,
                                                  const ReadContext& context) const override {
    DADI_TRY(auto stream, open_stream(descriptor, context));
    return std::unique_ptr<ByteSource>(
        std::make_unique<oci::VerifiedSource>(std::move(stream), descriptor.digest, descriptor.size));
  }

  // Mirrors may not have what was put beside an image later. For what nobody waits for, no registry is asked that was
  // spared until now.
  Result<std::vector<oci::Descriptor>> referrers(const Digest& subject, std::string_view artifact_type,
                                                 const ReadContext& context) const override {
    const auto& asked = context.read_class == ReadClass::kPrefetch ? repositories_.front() : repositories_.back();
    return asked->referrers(subject, artifact_type, context.stop);
  }

 private:
  // Documents are kept: who opens an image reads them, and who looks at it reads them again.
  Result<std::unique_ptr<ByteSource>> open_stream(const oci::Descriptor& descriptor, const ReadContext& context) const {
    const auto in_memory = [&](std::vector<std::byte> bytes) {
      return std::unique_ptr<ByteSource>(
          std::make_unique<oci::BlobStream>(std::make_shared<MemoryBlob>(std::move(bytes)), context));
    };
    const bool manifest = oci::is_manifest(descriptor.media_type) || oci::is_index(descriptor.media_type);
    const std::string digest = descriptor.digest.to_string();
    {
      const std::lock_guard lock(mutex_);
      if (const auto known = documents_.find(digest); known != documents_.end()) return in_memory(known->second);
    }
    if (!manifest && !(oci::is_image_config(descriptor.media_type) && descriptor.size <= kSmall)) {
      auto blob = std::make_unique<FirstThatAnswers>(repositories_, descriptor);
      DADI_CHECK(blob->open());
      return std::unique_ptr<ByteSource>(std::move(blob));
    }
    DADI_TRY(std::vector<std::byte> bytes, fetch_document(descriptor.digest, manifest, context.stop));
    const std::lock_guard lock(mutex_);
    documents_.emplace(digest, bytes);
    return in_memory(std::move(bytes));
  }

  Result<std::vector<std::byte>> fetch_document(const Digest& digest, bool manifest,
                                                const std::stop_token& stop) const {
    const auto fetch = [&](Repository& repository) -> Result<std::vector<std::byte>> {
      if (!manifest) return repository.document(digest, stop);
      DADI_TRY(FetchedManifest fetched, repository.manifest(digest.to_string(), stop));
      return std::move(fetched.bytes);
    };
    for (std::size_t i = 0;; ++i) {
      auto fetched = fetch(*repositories_[i]);
      if (fetched || i + 1 == repositories_.size() || fetched.error().code() == ErrorCode::kCancelled) return fetched;
    }
  }

  const Repositories repositories_;
  const oci::Descriptor root_;
  const std::shared_ptr<Rests> rests_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::vector<std::byte>> documents_;  // guarded by mutex_; select() bounds them
};

// What the reference names. What is here already is not asked for: its type is in it.
Result<FetchedManifest> find_root(Repository& repository, const oci::Reference& reference) {
  if (!reference.digest) return repository.manifest(reference.tag);
  const auto& documents = repository.access().documents;
  const auto known = documents.find(reference.digest->to_string());
  if (known == documents.end()) return repository.manifest(reference.digest->to_string());
  return FetchedManifest{{.media_type = "", .digest = *reference.digest, .size = {known->second.size()}},
                         known->second};
}

// The error, with the tags that there are.
Error with_tags(Error error, Repository& repository) {
  const auto tags = repository.tags();
  if (!tags || tags->empty())
    return std::move(error).with_hint(
        "is the name right? Of what a credential does not reach, registries say the same: dadi login {}",
        repository.host());
  std::string list;
  for (std::size_t i = 0; i < tags->size() && i < 20; ++i) list += (i == 0 ? "" : ", ") + (*tags)[i];
  return std::move(error).with_hint("the tags there: {}{}", list, tags->size() > 20 ? ", …" : "");
}

std::shared_ptr<Repository> repository_at(const Place& place, const Access& access, bool last) {
  Access there = access;
  there.may_lack_tls = place.may_lack_tls;
  if (!last) {
    there.most_tries = kTriesOfMirrors;
    there.read_time = std::min(there.read_time, kReadTimeOfMirrors);
  }
  return std::make_shared<Repository>(std::move(there), place.host, place.repository, Purpose::kPull);
}

}  // namespace

Result<std::unique_ptr<oci::ImageSource>> open_source(const oci::Reference& reference, const Access& access) {
  if (reference.kind != oci::Reference::Kind::kRegistry) return oci::open_source(reference);
  DADI_TRY(const auto places,
           places_to_pull(access.registries_files, reference.host, reference.repository, reference.digest.has_value()));
  Repositories repositories;
  for (const Place& place : places) repositories.push_back(repository_at(place, access, &place == &places.back()));
  std::string mirrors;  // what went wrong with them
  for (;;) {
    auto root = find_root(*repositories.front(), reference);
    if (root) {
      const std::string& type = root->descriptor.media_type;
      // Of another type, the document tells.
      if (!oci::is_manifest(type) && !oci::is_index(type) && !oci::is_docker_schema1(type))
        root->descriptor.media_type.clear();
      return std::unique_ptr<oci::ImageSource>(
          std::make_unique<RegistrySource>(std::move(repositories), std::move(*root)));
    }
    Error error = std::move(root).error();
    if (repositories.size() == 1 || error.code() == ErrorCode::kCancelled) {
      if (error.code() == ErrorCode::kNotFound) error = with_tags(std::move(error), *repositories.front());
      return mirrors.empty() ? std::move(error) : std::move(error).context("after its mirrors ({})", mirrors);
    }
    mirrors += (mirrors.empty() ? "" : "; ") + error.message();
    repositories.erase(repositories.begin());
  }
}

}  // namespace dadi::registry
