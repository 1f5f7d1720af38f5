// A repository on a registry, by the distribution protocol: https://github.com/opencontainers/distribution-spec, and
// Docker's token authentication. Answers are verified where a digest says what they should be.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "libconvert/oci/manifest.h"
#include "libconvert/registry/http.h"

namespace dadi::registry {

enum class Purpose { kPull, kPush };

// A manifest as the registry sent it; its digest is that of its bytes.
struct FetchedManifest {
  oci::Descriptor descriptor;  // media type as the registry says; may be none of an image
  std::vector<std::byte> bytes;
};

// Thread-safe. Connection failures, 429 and 5xx are tried again, after Retry-After or a growing pause. All errors:
// not_found (repository, tag or blob), unauthenticated (no credential, or a wrong one), denied (not with this one; a
// certificate), unavailable (not reached; all tries failed), cancelled; their messages name registry and repository.
class Repository {
 public:
  Repository(Access access, std::string host, std::string name, Purpose purpose);

  // Whether the registry answers and lets us in. Errors: and unsupported (no registry).
  Result<void> ping();

  // `reference`: a tag, or a digest, which the manifest then has. Errors: and corruption (another digest).
  Result<FetchedManifest> manifest(const std::string& reference, const std::stop_token& stop = {});
  // As it is, under a tag or its digest. Whether the registry lists it among the referrers of its subject; one that
  // knows nothing of subjects does not. Errors: and unsupported (the registry refuses it).
  Result<bool> put_manifest(const std::string& reference, std::span<const std::byte> bytes,
                            const std::string& media_type);
  Result<bool> has_manifest(const Digest& digest);
  // The first thousand or so.
  Result<std::vector<std::string>> tags();
  // What refers to the manifest, of that artifact type ("": of any): the referrers API, or the index that is tagged in
  // its stead.
  Result<std::vector<oci::Descriptor>> referrers(const Digest& subject, std::string_view artifact_type,
                                                 const std::stop_token& stop = {});
  // Adds a manifest to the index that is tagged in its stead. Of two that do so at once, one may be lost.
  Result<void> add_referrer(const Digest& subject, const oci::Descriptor& referrer);

  // A small blob, not verified. Errors: and unsupported (more than 8 MiB).
  Result<std::vector<std::byte>> document(const Digest& digest, const std::stop_token& stop = {});

  Result<bool> has_blob(const Digest& digest, Bytes size);
  // In order, from `begin` on, not verified; broken connections are taken up where they broke. Must not outlive this.
  Result<std::unique_ptr<ByteSource>> stream_blob(const Digest& digest, Bytes size, Bytes begin = {0});
  // Whether the blob is here now, because the other repository of this registry has it. No: also when it may not be
  // taken from there.
  Result<bool> mount_blob(const Digest& digest, const std::string& from);
  // Uploads a file in chunks; a broken upload goes on where the registry says that it is.
  Result<void> put_blob(const std::filesystem::path& file, const Digest& digest, Bytes size,
                        const std::function<void(Bytes)>& progress = {});

  // Where a blob is, below the registry.
  std::string blob_path(const Digest& digest) const { return "/v2/" + name_ + "/blobs/" + digest.to_string(); }

  const Access& access() const { return client_.access(); }
  const std::string& host() const { return host_; }
  const std::string& name() const { return name_; }

  // One request: authenticated, and tried again; whatever its status, save those that are errors above, is an answer.
  // `url`: absolute, or a path below /v2/.
  // `most_tries`: 0 for as many as access allows.
  Result<std::unique_ptr<HttpTransfer>> start(HttpRequest request, int most_tries = 0);
  Result<HttpAnswer> perform(HttpRequest request, int most_tries = 0);
  // One request, authenticated, and not tried again: see HttpClient::exchange(). `take` gets the bodies of refusals,
  // too.
  Result<HttpHead> exchange(HttpRequest request, const TakeBody& take);
  // A failure of the status, with what the registry says of it.
  Error refused(const HttpAnswer& answer, std::string_view what) const;
  // Waits before the next try. Errors: cancelled.
  Result<void> pause(int tries, long retry_after, const std::stop_token& stop = {}) const;

 private:
  Result<std::string> base_url();
  Result<oci::Index> tagged_referrers(const Digest& subject, const std::stop_token& stop = {});
  Result<std::string> find_base_url();
  // A new authorization in place of that of a request that was refused with these challenges. Empty: there is none to
  // be had.
  Result<std::string> authorize(const HttpHead& refusal, const HttpRequest& refused);
  Result<std::string> fetch_token(const std::map<std::string, std::string>& challenge,
                                  const std::optional<Credential>& credential, const HttpRequest& for_whom);
  Result<HttpAnswer> ask_for_token(const std::string& realm, const std::string& service, const std::string& scope,
                                   const std::optional<Credential>& credential, const HttpRequest& for_whom);
  template <typename Send, typename HeadOf>
  auto authenticated(HttpRequest& request, Send send, HeadOf head_of) -> decltype(send(request));
  template <typename Try, typename HeadOf>
  auto patiently(int most_tries, const std::stop_token& stop, Try attempt, HeadOf head_of) -> decltype(attempt());
  Result<std::unique_ptr<HttpTransfer>> try_once(HttpRequest& request);

  HttpClient client_;
  std::string host_, name_;
  std::string scope_;
  std::string mount_scope_;  // asked for besides, until it is refused; guarded by mutex_
  std::mutex mutex_;         // of what follows; authorizing, too: one at a time
  std::string base_url_;     // "https://HOST"; empty: not known yet
  std::string authorization_;
};

}  // namespace dadi::registry
