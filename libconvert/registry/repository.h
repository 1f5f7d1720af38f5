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

#include "libconvert/oci/descriptor.h"
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
  static constexpr int kMostTries = 6;

  Repository(Access access, std::string host, std::string name, Purpose purpose);

  // Whether the registry answers and lets us in. Errors: and unsupported (no registry).
  Result<void> ping();

  // `reference`: a tag, or a digest, which the manifest then has. Errors: and corruption (another digest).
  Result<FetchedManifest> manifest(const std::string& reference);
  // As it is, under a tag or its digest. Errors: and unsupported (the registry refuses it).
  Result<void> put_manifest(const std::string& reference, std::span<const std::byte> bytes,
                            const std::string& media_type);
  Result<bool> has_manifest(const Digest& digest);
  // The first thousand or so.
  Result<std::vector<std::string>> tags();
  // What refers to the manifest, of that artifact type ("": of any): the referrers API, or the index that is tagged in
  // its stead.
  Result<std::vector<oci::Descriptor>> referrers(const Digest& subject, const std::string& artifact_type);

  Result<bool> has_blob(const Digest& digest, Bytes size);
  // In order, not verified; broken connections are taken up where they broke. Must not outlive this.
  Result<std::unique_ptr<ByteSource>> stream_blob(const Digest& digest, Bytes size);
  // Whether the blob is here now, because the other repository of this registry has it.
  Result<bool> mount_blob(const Digest& digest, const std::string& from);
  // Uploads a file in chunks; a broken upload goes on where the registry says that it is.
  Result<void> put_blob(const std::filesystem::path& file, const Digest& digest, Bytes size,
                        const std::function<void(Bytes)>& progress = {});

  const std::string& host() const { return host_; }
  const std::string& name() const { return name_; }

  // One request: authenticated, and tried again; whatever its status, save those that are errors above, is an answer.
  // `url`: absolute, or a path below /v2/.
  Result<std::unique_ptr<HttpTransfer>> start(HttpRequest request, int most_tries = kMostTries);
  Result<HttpAnswer> perform(HttpRequest request, int most_tries = kMostTries);
  // A failure of the status, with what the registry says of it.
  Error refused(const HttpAnswer& answer, std::string_view what) const;
  // Waits before the next try. Errors: cancelled.
  Result<void> pause(int tries, long retry_after) const;

 private:
  Result<std::string> base_url();
  Result<std::string> find_base_url();
  // A new authorization in place of `used`, which was refused with these challenges. Empty: there is none to be had.
  Result<std::string> authorize(const HttpHead& refusal, const std::string& used);
  Result<std::string> fetch_token(const std::map<std::string, std::string>& challenge,
                                  const std::optional<Credential>& credential);
  Result<std::unique_ptr<HttpTransfer>> try_once(HttpRequest& request);

  HttpClient client_;
  std::string host_, name_;
  std::string scope_;
  std::mutex mutex_;      // of what follows; authorizing, too: one at a time
  std::string base_url_;  // "https://HOST"; empty: not known yet
  std::string authorization_;
};

}  // namespace dadi::registry
