#include "libconvert/registry/repository.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>

#include "libconvert/oci/json.h"
#include "libconvert/oci/manifest.h"
#include "libconvert/registry/challenge.h"
#include "libformat/base/bytes.h"

namespace dadi::registry {

namespace {

constexpr long kLongestPause = 30;  // seconds
constexpr Bytes kTokenLimit{1 << 20};
constexpr Bytes kAnswerLimit{8 << 20};
constexpr std::size_t kMostTags = 1000;

std::string accept_manifests() {
  std::string types;
  for (const std::string_view type : {oci::kOciIndex, oci::kOciManifest, oci::kDockerIndex, oci::kDockerManifest})
    types += (types.empty() ? "Accept: " : ", ") + std::string(type);
  return types;
}

bool is_transient(long status) {
  return status == 429 || status == 408 || status == 500 || status == 502 || status == 503 || status == 504;
}

// What the registry says itself: {"errors":[{"code":…,"message":…}]}.
std::string said(std::span<const std::byte> body) {
  const auto json = oci::parse_json(body);
  if (!json || !json->is_object() || !json->contains("errors")) return {};
  const auto& errors = (*json)["errors"];
  if (!errors.is_array() || errors.empty() || !errors[0].is_object()) return {};
  for (const char* name : {"message", "code"})
    if (errors[0].contains(name) && errors[0][name].is_string() && !errors[0][name].get<std::string>().empty())
      return ": " + errors[0][name].get<std::string>().substr(0, 300);
  return {};
}

std::string referrers_tag(const Digest& subject) {
  return "sha256-" + subject.hex();
}

}  // namespace

Repository::Repository(Access access, std::string host, std::string name, Purpose purpose)
    : client_(std::move(access)), host_(std::move(host)), name_(std::move(name)) {
  if (name_.empty()) return;
  scope_ = "repository:" + name_ + (purpose == Purpose::kPull ? ":pull" : ":pull,push");
  const std::string& from = client_.access().mount_from;
  if (purpose == Purpose::kPush && !from.empty()) mount_scope_ = " repository:" + from + ":pull";
}

Result<void> Repository::pause(int tries, long retry_after, const std::stop_token& stop) const {
  auto length = std::chrono::milliseconds(200) * (1 << std::min(tries, 6));
  if (retry_after > 0) length = std::chrono::seconds(std::min(retry_after, kLongestPause));
  std::mutex mutex;
  std::condition_variable_any woken;
  const std::stop_token& all = client_.access().stop;
  const std::stop_callback wake(stop, [&] {
    const std::lock_guard lock(mutex);
    woken.notify_all();
  });
  std::unique_lock lock(mutex);
  woken.wait_for(lock, all, length, [&] { return stop.stop_requested(); });
  lock.unlock();
  if (all.stop_requested() || stop.stop_requested()) return Error::cancelled("stopped");
  return {};
}

// Of a registry on the loopback, and of one that may lack TLS, TLS or not is found out; elsewhere it is said.
Result<std::string> Repository::find_base_url() {
  const std::string address = host_ == "docker.io" ? "registry-1.docker.io" : host_;
  if (client_.access().plain_http) return "http://" + address;
  if (!is_loopback(host_) && !client_.access().may_lack_tls) return "https://" + address;
  const auto answer = client_.perform({.url = "https://" + address + "/v2/"}, kAnswerLimit);
  if (!answer && answer.error().code() == ErrorCode::kUnsupported) return "http://" + address;
  if (!answer) return answer.error();
  return "https://" + address;
}

Result<std::string> Repository::base_url() {
  const std::lock_guard lock(mutex_);
  if (base_url_.empty()) {
    DADI_TRY(base_url_, find_base_url());
  }
  return base_url_;
}

// One try, and one more when the credential was refused that we thought we had. `send` gives an answer, of which
// `head_of` gives the head.
template <typename Send, typename HeadOf>
auto Repository::authenticated(HttpRequest& request, Send send, HeadOf head_of) -> decltype(send(request)) {
  DADI_TRY(const std::string base, base_url());
  if (request.url.starts_with('/')) request.url.insert(0, base);
  const bool ours = origin_of(request.url) == origin_of(base);
  request.anonymous = !ours;
  for (int attempt = 0;; ++attempt) {
    if (ours) {
      const std::lock_guard lock(mutex_);
      request.authorization = authorization_;
    }
    DADI_TRY(auto answer, send(request));
    const HttpHead& head = head_of(answer);
    if (head.status != 401 || !ours || attempt == 2) return answer;
    DADI_TRY(const std::string renewed, authorize(head, request));
    if (renewed.empty()) return answer;
  }
}

Result<std::unique_ptr<HttpTransfer>> Repository::try_once(HttpRequest& request) {
  return authenticated(
      request, [this](const HttpRequest& current) { return client_.start(current); },
      [](const std::unique_ptr<HttpTransfer>& transfer) -> const HttpHead& { return transfer->head(); });
}

Result<HttpHead> Repository::exchange(HttpRequest request, const TakeBody& take) {
  return authenticated(
      request, [&](const HttpRequest& current) { return client_.exchange(current, take); },
      [](const HttpHead& head) -> const HttpHead& { return head; });
}

// Calls `attempt` until it succeeds, as often as that makes sense. `head_of` gives the head of its answer.
template <typename Try, typename HeadOf>
auto Repository::patiently(int most_tries, const std::stop_token& stop, Try attempt, HeadOf head_of)
    -> decltype(attempt()) {
  if (most_tries == 0) most_tries = client_.access().most_tries;
  for (int tries = 0;; ++tries) {
    auto answer = attempt();
    const bool last = tries + 1 >= most_tries;
    if (!answer && (answer.error().code() != ErrorCode::kUnavailable || last)) {
      // No TLS where it was expected.
      if (answer.error().code() == ErrorCode::kUnsupported)
        return Error::unavailable("{}", answer.error().message())
            .with_hint("a registry without TLS is reached with --plain-http");
      return std::move(answer).error();
    }
    if (answer && !is_transient(head_of(*answer).status)) return answer;
    if (last) return Error::unavailable("{}: answered with status {}", host_, head_of(*answer).status);
    const long retry_after = answer ? head_of(*answer).retry_after : 0;
    answer = Error::unavailable("given up");  // its connection is free again
    DADI_CHECK(pause(tries, retry_after, stop));
  }
}

Result<std::unique_ptr<HttpTransfer>> Repository::start(HttpRequest request, int most_tries) {
  return patiently(
      most_tries, request.stop, [&] { return try_once(request); },
      [](const std::unique_ptr<HttpTransfer>& transfer) -> const HttpHead& { return transfer->head(); });
}

Result<HttpAnswer> Repository::perform(HttpRequest request, int most_tries) {
  const auto attempt = [&]() -> Result<HttpAnswer> {
    HttpAnswer answer;
    bool too_much = false;
    const TakeBody take = [&](const HttpHead& head, std::span<const std::byte> bytes) {
      if (head.status == 401) return true;  // another try may follow
      too_much = answer.body.size() + bytes.size() > kAnswerLimit.value;
      if (!too_much) answer.body.insert(answer.body.end(), bytes.begin(), bytes.end());
      return !too_much;
    };
    DADI_TRY(answer.head, exchange(request, take));
    if (too_much) return Error::unsupported("{}: an answer of more than {} bytes", host_, kAnswerLimit.value);
    return answer;
  };
  return patiently(most_tries, request.stop, attempt,
                   [](const HttpAnswer& answer) -> const HttpHead& { return answer.head; });
}

Error Repository::refused(const HttpAnswer& answer, std::string_view what) const {
  const long status = answer.head.status;
  const std::string message = fmt::format("{}: {}{}", host_, what, said(answer.body));
  if (status == 401)
    return Error::unauthenticated("{}: it asks for a credential, and has accepted none", message)
        .with_hint("dadi login {}", host_);
  if (status == 403 || status == 405)
    return Error::denied("{}: not allowed (status {})", message, status)
        .with_hint("the credential does not reach that far, or the registry cannot be written to");
  if (status == 404) return Error::not_found("{}: it is not there", message);
  if (is_transient(status)) return Error::unavailable("{}: status {}", message, status);
  return Error::unsupported("{}: status {}", message, status);
}

Result<std::string> Repository::authorize(const HttpHead& refusal, const HttpRequest& refused) {
  const std::string& used = refused.authorization;
  const std::lock_guard lock(mutex_);
  if (authorization_ != used) return authorization_;  // another thread was here
  const Access& access = client_.access();
  auto credential = access.fixed_credential;
  if (!credential) {
    DADI_TRY(credential, find_credential(access.credential_files, access.ask_helper, host_, name_));
  }
  for (const auto& [name, value] : refusal.headers) {
    if (name != "www-authenticate") continue;
    for (const Challenge& challenge : parse_challenges(value)) {
      if (challenge.scheme == "bearer") {
        DADI_TRY(authorization_, fetch_token(challenge.parameters, credential, refused));
        return authorization_;
      }
      if (challenge.scheme == "basic" && credential && !credential->user.empty()) {
        const std::string basic = credential->basic();
        if (basic == used) return std::string();
        return authorization_ = basic;
      }
    }
  }
  return std::string();
}

// By a refresh token, or as RFC 6749 has it, by user and password, or as nobody.
Result<HttpAnswer> Repository::ask_for_token(const std::string& realm, const std::string& service,
                                             const std::string& scope, const std::optional<Credential>& credential,
                                             const HttpRequest& for_whom) {
  std::string query = "service=" + url_encode(service);
  HttpRequest request;
  const bool by_identity = credential && !credential->identity_token.empty();
  // Several scopes are one value in a form, and a parameter each in a query.
  for (std::string_view rest = scope; !rest.empty();) {
    const std::size_t space = by_identity ? std::string_view::npos : rest.find(' ');
    query += "&scope=" + url_encode(rest.substr(0, space));
    rest = space == std::string_view::npos ? std::string_view() : rest.substr(space + 1);
  }
  std::string form;
  if (by_identity) {
    form =
        "grant_type=refresh_token&client_id=dadi&" + query + "&refresh_token=" + url_encode(credential->identity_token);
    request = {.method = "POST", .url = realm, .body = as_bytes(form)};
    request.headers.emplace_back("Content-Type: application/x-www-form-urlencoded");
  } else {
    request.url = realm + (realm.find('?') == std::string::npos ? "?" : "&") + query;
    if (credential) request.authorization = credential->basic();
  }
  request.stop = for_whom.stop;
  request.deadline = for_whom.deadline;
  for (int tries = 0;; ++tries) {
    auto answer = client_.perform(request, kTokenLimit);
    const bool again = answer ? is_transient(answer->head.status) : answer.error().code() == ErrorCode::kUnavailable;
    const bool last = tries + 1 >= client_.access().most_tries || std::chrono::steady_clock::now() >= request.deadline;
    if (!again || last) return answer;
    DADI_CHECK(pause(tries, answer ? answer->head.retry_after : 0, for_whom.stop));
  }
}

Result<std::string> Repository::fetch_token(const std::map<std::string, std::string>& challenge,
                                            const std::optional<Credential>& credential, const HttpRequest& for_whom) {
  const auto parameter = [&](const char* name) {
    const auto at = challenge.find(name);
    return at == challenge.end() ? std::string() : at->second;
  };
  const std::string origin = origin_of(parameter("realm"));
  if (origin.empty()) return Error::unsupported("{}: its realm for tokens is no address of the web", host_);
  if (origin.starts_with("http://") && !base_url_.starts_with("http://"))
    return Error::denied("{}: its realm for tokens, {}, is without TLS", host_, origin);
  const std::string scope = scope_.empty() ? parameter("scope") : scope_;
  const auto ask = [&] {
    return ask_for_token(parameter("realm"), parameter("service"), scope + mount_scope_, credential, for_whom);
  };
  const auto is_refused = [](long status) { return status == 400 || status == 401 || status == 403; };
  DADI_TRY(HttpAnswer answer, ask());
  if (is_refused(answer.head.status) && !mount_scope_.empty()) {
    mount_scope_.clear();  // where blobs could be mounted from is not ours to read
    DADI_TRY(answer, ask());
  }
  if (is_refused(answer.head.status))
    return Error::unauthenticated("{}: {}", host_,
                                  credential ? "the credential was not accepted" : "it asks for a credential")
        .with_hint("dadi login {}", host_);
  if (answer.head.status != 200) return refused(answer, "get a token");
  const auto json = oci::parse_json(answer.body);
  for (const char* name : {"token", "access_token"}) {
    if (!json || !json->is_object() || !json->contains(name) || !(*json)[name].is_string()) continue;
    const std::string token = (*json)[name].get<std::string>();
    if (!token.empty() && token.find_first_of("\r\n") == std::string::npos) return "Bearer " + token;
  }
  return Error::unsupported("{}: an answer without a token", origin);
}

Result<void> Repository::ping() {
  DADI_TRY(const HttpAnswer answer, perform({.url = "/v2/"}));
  if (answer.head.status == 200) return {};
  if (answer.head.status == 404) return Error::unsupported("{}: no registry answers there", host_);
  return refused(answer, "log in");
}

Result<FetchedManifest> Repository::manifest(const std::string& reference, const std::stop_token& stop) {
  HttpRequest request{.url = "/v2/" + name_ + "/manifests/" + reference, .stop = stop};
  request.headers.push_back(accept_manifests());
  DADI_TRY(HttpAnswer answer, perform(std::move(request)));
  if (answer.head.status != 200) return refused(answer, fmt::format("manifest {} of {}", reference, name_));
  if (answer.body.size() > oci::kManifestLimit.value)
    return Error::unsupported("{}: a manifest of {} bytes", host_, answer.body.size());
  const Digest digest = Digest::of(answer.body);
  std::string wanted(answer.head.header("docker-content-digest"));
  if (reference.starts_with("sha256:")) wanted = reference;
  if (wanted.starts_with("sha256:") && wanted != digest.to_string())
    return Error::corruption("{}: manifest {} of {} has the digest {}", host_, wanted, name_, digest.to_string())
        .with_hint("it was damaged there, or changed on the way: try again, then push it again");
  std::string type(answer.head.header("content-type"));
  type.resize(std::min(type.find_first_of("; \t"), type.size()));
  return FetchedManifest{{.media_type = type, .digest = digest, .size = {answer.body.size()}}, std::move(answer.body)};
}

Result<bool> Repository::put_manifest(const std::string& reference, std::span<const std::byte> bytes,
                                      const std::string& media_type) {
  HttpRequest request{.method = "PUT", .url = "/v2/" + name_ + "/manifests/" + reference, .body = bytes};
  request.headers.push_back("Content-Type: " + media_type);
  DADI_TRY(const HttpAnswer answer, perform(std::move(request)));
  if (answer.head.status / 100 != 2) return refused(answer, fmt::format("put manifest {} into {}", reference, name_));
  return !answer.head.header("oci-subject").empty();
}

Result<bool> Repository::has_manifest(const Digest& digest) {
  HttpRequest request{.method = "HEAD", .url = "/v2/" + name_ + "/manifests/" + digest.to_string()};
  request.headers.push_back(accept_manifests());
  DADI_TRY(const HttpAnswer answer, perform(std::move(request)));
  return answer.head.status == 200;
}

Result<std::vector<std::string>> Repository::tags() {
  DADI_TRY(const HttpAnswer answer, perform({.url = "/v2/" + name_ + "/tags/list?n=" + std::to_string(kMostTags)}));
  if (answer.head.status != 200) return refused(answer, fmt::format("tags of {}", name_));
  DADI_TRY(const oci::Json json, oci::parse_json(answer.body));
  DADI_TRY(const oci::JsonObject object, oci::JsonObject::of(json, "tags"));
  return object.texts("tags");
}

// Source: OCI distribution spec 1.1, "Referrers Tag Schema".
Result<oci::Index> Repository::tagged_referrers(const Digest& subject, const std::stop_token& stop) {
  const std::string tag = referrers_tag(subject);
  HttpRequest request{.url = "/v2/" + name_ + "/manifests/" + tag, .stop = stop};
  request.headers.push_back("Accept: " + std::string(oci::kOciIndex));
  DADI_TRY(const HttpAnswer answer, perform(std::move(request)));
  if (answer.head.status == 404)
    return oci::Index{.media_type = std::string(oci::kOciIndex),
                      .artifact_type = {},
                      .manifests = {},
                      .subject = {},
                      .annotations = {}};
  if (answer.head.status != 200) return refused(answer, fmt::format("referrers of {}", subject.to_string()));
  return oci::Index::parse(answer.body, oci::kOciIndex).context("{}: {}:{}", host_, name_, tag);
}

Result<std::vector<oci::Descriptor>> Repository::referrers(const Digest& subject, std::string_view artifact_type,
                                                           const std::stop_token& stop) {
  HttpRequest request{.url = "/v2/" + name_ + "/referrers/" + subject.to_string(), .stop = stop};
  request.headers.push_back("Accept: " + std::string(oci::kOciIndex));
  DADI_TRY(const HttpAnswer answer, perform(std::move(request)));
  oci::Index index;
  if (answer.head.status == 200) {
    DADI_TRY(index, oci::Index::parse(answer.body, oci::kOciIndex).context("{}: referrers", host_));
  } else {  // whichever way it says that it does not know the question
    DADI_TRY(index, tagged_referrers(subject, stop));
  }
  if (!artifact_type.empty())
    std::erase_if(index.manifests, [&](const oci::Descriptor& d) { return d.artifact_type != artifact_type; });
  return std::move(index.manifests);
}

Result<void> Repository::add_referrer(const Digest& subject, const oci::Descriptor& referrer) {
  DADI_TRY(oci::Index index, tagged_referrers(subject));
  if (std::ranges::any_of(index.manifests, [&](const auto& one) { return one.digest == referrer.digest; })) return {};
  index.manifests.push_back(referrer);
  DADI_CHECK(put_manifest(referrers_tag(subject), as_bytes(index.to_json()), index.media_type));
  return {};
}

}  // namespace dadi::registry
