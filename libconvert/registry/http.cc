#include "libconvert/registry/http.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "libconvert/registry/curl.h"
#include "libformat/base/bytes.h"

namespace dadi::registry {

namespace {

constexpr std::size_t kMostBuffered = 1 << 20;   // of a body, before the connection is paused
constexpr std::size_t kMostHeaders = 256 << 10;  // bytes of an answer's head
constexpr int kMostRedirects = 5;
constexpr long kConnectSeconds = 15;
constexpr long kStallSeconds = 30;  // without a byte: broken off
constexpr std::size_t kMostIdle = 16;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  return out;
}

// REQUIRES: load_curl() has succeeded.
const Curl& curl() {
  return **load_curl();
}

struct FreeUrl {
  void operator()(CURLU* url) const { curl().url_cleanup(url); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl().slist_free_all(list); }
};

std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl().url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string copy(text);
  curl().free(text);
  return copy;
}

// What a failed transfer means. curl's texts name hosts and files, never headers.
Error error_of(CURLcode code, const std::string& origin, const char* detail) {
  const char* text = detail[0] != '\0' ? detail : curl().easy_strerror(code);
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
      return Error::denied("{}: its certificate is not trusted: {}", origin, text)
          .with_hint("name the authority that signed it: --ca-file FILE");
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return Error::invalid_argument("certificates for {}: {}", origin, text);
    case CURLE_SSL_CONNECT_ERROR:
      return Error::unsupported("{}: no TLS connection: {}", origin, text);
    default:
      return Error::unavailable("{}: {}", origin, text);
  }
}

}  // namespace

class HttpHandle {
 public:
  HttpHandle() : multi(curl().multi_init()), easy(curl().easy_init()) {}
  ~HttpHandle() {
    curl().easy_cleanup(easy);
    curl().multi_cleanup(multi);
  }
  HttpHandle(const HttpHandle&) = delete;
  HttpHandle& operator=(const HttpHandle&) = delete;

  CURLM* multi;
  CURL* easy;
};

class CurlTransfer final : public HttpTransfer {
 public:
  CurlTransfer(HttpClient& client, const HttpRequest& request, bool with_authorization)
      : client_(client), handle_(client.take()), origin_(origin_of(request.url)) {
    prepare(request, with_authorization);
    curl().multi_add_handle(handle_->multi, handle_->easy);
  }
  ~CurlTransfer() override {
    curl().multi_remove_handle(handle_->multi, handle_->easy);
    curl().easy_reset(handle_->easy);
    client_.give_back(std::move(handle_));
  }

  const HttpHead& head() const override { return head_; }
  std::string redirect() const {
    char* url = nullptr;
    curl().easy_getinfo(handle_->easy, CURLINFO_REDIRECT_URL, &url);
    return url != nullptr ? url : "";
  }

  Result<void> wait_for_head() {
    DADI_CHECK(drive([this] { return head_complete_; }));
    if (!head_complete_) return Error::unavailable("{}: an answer without a head", origin_);
    curl_off_t seconds = 0;
    curl().easy_getinfo(handle_->easy, CURLINFO_RETRY_AFTER, &seconds);
    head_.retry_after = static_cast<long>(seconds);
    return {};
  }

  Result<std::span<const std::byte>> next() override {
    given_.clear();
    if (arrived_.empty()) DADI_CHECK(drive([this] { return !arrived_.empty(); }));
    std::swap(given_, arrived_);
    return std::span<const std::byte>(given_);
  }

 private:
  template <typename T>
  void set(CURLoption option, T value) {
    curl().easy_setopt(handle_->easy, option, value);
  }

  void prepare(const HttpRequest& request, bool with_authorization) {
    const Access& access = client_.access();
    set(CURLOPT_URL, request.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "https,http");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
    set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(CURLOPT_LOW_SPEED_TIME, kStallSeconds);
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    set(CURLOPT_ERRORBUFFER, detail_.data());
    set(CURLOPT_USERAGENT, "dadi");
    if (!access.ca_file.empty()) set(CURLOPT_CAINFO, access.ca_file.c_str());
    if (!access.client_certificate.empty() && with_authorization) {
      set(CURLOPT_SSLCERT, access.client_certificate.c_str());
      const auto& key = access.client_key.empty() ? access.client_certificate : access.client_key;
      set(CURLOPT_SSLKEY, key.c_str());
    }
    set(CURLOPT_WRITEFUNCTION, &CurlTransfer::on_body);
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_HEADERFUNCTION, &CurlTransfer::on_header);
    set(CURLOPT_HEADERDATA, this);
    if (request.method == "HEAD") {
      set(CURLOPT_NOBODY, 1L);
    } else if (request.method != "GET") {
      set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      set(CURLOPT_POSTFIELDS, as_text(request.body).data() != nullptr ? as_text(request.body).data() : "");
      set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
    add_header("Expect:");
    for (const std::string& header : request.headers) add_header(header);
    if (with_authorization && !request.authorization.empty()) add_header("Authorization: " + request.authorization);
    set(CURLOPT_HTTPHEADER, headers_.get());
  }
  void add_header(const std::string& header) {
    headers_.reset(curl().slist_append(headers_.release(), header.c_str()));
  }

  // Lets the transfer go on until there is something, or it is over.
  template <typename Done>
  Result<void> drive(Done something) {
    const std::stop_token& stop = client_.access().stop;
    const std::stop_callback wake(stop, [this] { curl().multi_wakeup(handle_->multi); });
    if (paused_) {
      paused_ = false;
      curl().easy_pause(handle_->easy, CURLPAUSE_CONT);
    }
    while (!something() && !over_) {
      if (stop.stop_requested()) return Error::cancelled("stopped");
      int running = 0;
      if (curl().multi_perform(handle_->multi, &running) != CURLM_OK) return Error::internal("libcurl gave up");
      int left = 0;
      while (const CURLMsg* message = curl().multi_info_read(handle_->multi, &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        over_ = true;
        code_ = message->data.result;
      }
      if (something() || over_) break;
      curl().multi_poll(handle_->multi, nullptr, 0, 1000, nullptr);
    }
    if (over_ && code_ != CURLE_OK && !something()) return error_of(code_, origin_, detail_.data());
    return {};
  }

  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self) {
    auto& transfer = *static_cast<CurlTransfer*>(self);
    if (transfer.arrived_.size() >= kMostBuffered) {
      transfer.paused_ = true;
      return CURL_WRITEFUNC_PAUSE;
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(data);
    transfer.arrived_.insert(transfer.arrived_.end(), bytes, bytes + size);
    return size;
  }

  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* self) {
    auto& transfer = *static_cast<CurlTransfer*>(self);
    std::string_view line(data, size);
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    if ((transfer.header_bytes_ += size) > kMostHeaders) return 0;
    if (line.starts_with("HTTP/")) {
      transfer.head_.headers.clear();
    } else if (line.empty()) {
      curl().easy_getinfo(transfer.handle_->easy, CURLINFO_RESPONSE_CODE, &transfer.head_.status);
      if (transfer.head_.status >= 200) transfer.head_complete_ = true;
    } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
      std::string_view value = line.substr(colon + 1);
      while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
      transfer.head_.headers.emplace_back(lower(line.substr(0, colon)), value);
    }
    return size;
  }

 public:
  void set_url(std::string url) { head_.url = std::move(url); }

 private:
  HttpClient& client_;
  std::unique_ptr<HttpHandle> handle_;
  std::string origin_;
  std::unique_ptr<curl_slist, FreeList> headers_;
  std::array<char, CURL_ERROR_SIZE> detail_{};
  HttpHead head_;
  std::size_t header_bytes_ = 0;
  bool head_complete_ = false;
  bool paused_ = false;
  bool over_ = false;
  CURLcode code_ = CURLE_OK;
  std::vector<std::byte> arrived_, given_;
};

std::string_view HttpHead::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

HttpClient::HttpClient(Access access) : access_(std::move(access)) {}

HttpClient::~HttpClient() = default;

std::unique_ptr<HttpHandle> HttpClient::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<HttpHandle>();
  auto handle = std::move(idle_.back());
  idle_.pop_back();
  return handle;
}

void HttpClient::give_back(std::unique_ptr<HttpHandle> handle) {
  const std::lock_guard lock(mutex_);
  if (idle_.size() < kMostIdle) idle_.push_back(std::move(handle));
}

Result<std::unique_ptr<HttpTransfer>> HttpClient::start(const HttpRequest& request) {
  if (const auto& loaded = load_curl(); !loaded) return loaded.error();
  HttpRequest current = request;
  const std::string origin = origin_of(request.url);
  bool same_origin = true;
  for (int redirects = 0;; ++redirects) {
    const std::string here = origin_of(current.url);
    if (here.empty()) return Error::unavailable("{}: sent on to what is no address of the web", origin);
    auto transfer = std::make_unique<CurlTransfer>(*this, current, same_origin);
    DADI_CHECK(transfer->wait_for_head());
    transfer->set_url(current.url);
    const long status = transfer->head().status;
    const bool moved = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    if (!moved || (request.method != "GET" && request.method != "HEAD"))
      return std::unique_ptr<HttpTransfer>(std::move(transfer));
    if (redirects == kMostRedirects) return Error::unavailable("{}: more than {} redirects", origin, kMostRedirects);
    current.url = transfer->redirect();
    const std::string there = origin_of(current.url);
    if (here.starts_with("https://") && there.starts_with("http://"))
      return Error::denied("{}: sent on to {}, without TLS", origin, there);
    // Once away, the way back does not bring the credentials back.
    same_origin = same_origin && there == origin;
  }
}

Result<HttpAnswer> HttpClient::perform(const HttpRequest& request, Bytes limit) {
  DADI_TRY(const auto transfer, start(request));
  HttpAnswer answer{transfer->head(), {}};
  for (;;) {
    DADI_TRY(const auto piece, transfer->next());
    if (piece.empty()) return answer;
    if (answer.body.size() + piece.size() > limit.value)
      return Error::unsupported("{}: an answer of more than {} bytes", origin_of(request.url), limit.value);
    answer.body.insert(answer.body.end(), piece.begin(), piece.end());
  }
}

std::string origin_of(const std::string& url) {
  if (!load_curl()) return {};
  const std::unique_ptr<CURLU, FreeUrl> parsed(curl().url());
  if (curl().url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return {};
  const std::string scheme = lower(url_part(parsed.get(), CURLUPART_SCHEME));
  if (scheme != "http" && scheme != "https") return {};
  return scheme + "://" + lower(url_part(parsed.get(), CURLUPART_HOST)) + ":" +
         url_part(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

bool is_loopback(std::string_view host) {
  if (host.starts_with("[::1]")) return true;
  host = host.substr(0, host.find(':'));
  if (host == "localhost") return true;
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == std::string_view::npos;
}

std::string url_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace dadi::registry
