#include "libconvert/registry/http.h"

#include <array>

#include "libconvert/registry/curl.h"
#include "libconvert/registry/curl_request.h"
#include "libconvert/registry/http_loop.h"
#include "libformat/base/ascii.h"
#include "libformat/base/bytes.h"

namespace dadi::registry {

namespace {

constexpr std::size_t kMostBuffered = 1 << 20;  // of a body, before the connection is paused
constexpr int kMostRedirects = 5;
constexpr std::size_t kMostIdle = 16;

struct FreeUrl {
  void operator()(CURLU* url) const { curl().url_cleanup(url); }
};
std::string url_part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl().url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string copy(text);
  curl().free(text);
  return copy;
}

bool is_redirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// What an answer says of where to go on.
struct Redirection {
  long status;
  std::string url;
};

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
      : client_(client), handle_(client.take()), request_(handle_->easy, request, client.access(), with_authorization) {
    request_.set(CURLOPT_WRITEFUNCTION, &CurlTransfer::on_body);
    request_.set(CURLOPT_WRITEDATA, this);
    request_.set(CURLOPT_HEADERFUNCTION, &CurlTransfer::on_header);
    request_.set(CURLOPT_HEADERDATA, this);
    client.count_request();
    curl().multi_add_handle(handle_->multi, handle_->easy);
  }
  ~CurlTransfer() override {
    curl().multi_remove_handle(handle_->multi, handle_->easy);
    curl().easy_reset(handle_->easy);
    client_.give_back(std::move(handle_));
  }

  const HttpHead& head() const override { return parser_.head; }
  std::string redirect() const { return request_.redirect(); }
  void set_url(std::string url) { parser_.head.url = std::move(url); }

  Result<void> wait_for_head() {
    DADI_CHECK(drive([this] { return parser_.complete(); }));
    if (!parser_.complete()) return Error::unavailable("{}: an answer without a head", request_.origin());
    return {};
  }

  Result<std::span<const std::byte>> next() override {
    given_.clear();
    if (arrived_.empty()) DADI_CHECK(drive([this] { return !arrived_.empty(); }));
    std::swap(given_, arrived_);
    client_.count_bytes(given_.size());
    return std::span<const std::byte>(given_);
  }

 private:
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
    if (!over_ || code_ == CURLE_OK || something()) return {};
    Error error = request_.error_of(code_);
    if (parser_.complete() || !request_.hides_reason(code_)) return error;
    curl().multi_remove_handle(handle_->multi, handle_->easy);
    return request_.ask_for_reason(std::move(error), {&stop, 1}, std::chrono::steady_clock::time_point::max());
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
    return transfer.parser_.add(transfer.handle_->easy, {data, size}) ? size : 0;
  }

  HttpClient& client_;
  std::unique_ptr<HttpHandle> handle_;
  CurlRequest request_;
  HeadParser parser_;
  bool paused_ = false;
  bool over_ = false;
  CURLcode code_ = CURLE_OK;
  std::vector<std::byte> arrived_, given_;
};

// One request over the connections that all share, its body passed on as it arrives.
class CurlExchange {
 public:
  CurlExchange(HttpClient& client, const HttpRequest& request, bool with_authorization, const TakeBody& take)
      : client_(client),
        wanted_(request),
        take_(take),
        easy_(curl().easy_init()),
        request_(easy_.get(), request, client.access(), with_authorization) {
    request_.set(CURLOPT_WRITEFUNCTION, &CurlExchange::on_body);
    request_.set(CURLOPT_WRITEDATA, this);
    request_.set(CURLOPT_HEADERFUNCTION, &CurlExchange::on_header);
    request_.set(CURLOPT_HEADERDATA, this);
    // Where TLS is, HTTP/2 may be: then the others wait for the first connection, and go over it.
    request_.set(CURLOPT_PIPEWAIT, request.url.starts_with("https:") ? 1L : 0L);
    if (request.new_connection) request_.set(CURLOPT_FRESH_CONNECT, 1L);
    request_.set(CURLOPT_NOPROGRESS, 0L);
    request_.set(CURLOPT_XFERINFOFUNCTION, &CurlExchange::on_progress);
    request_.set(CURLOPT_XFERINFODATA, this);
    client.count_request();
  }

  Result<HttpHead> run() {
    const std::array stops = {client_.access().stop, wanted_.stop};
    const CURLcode code = client_.loop_->run(easy_.get(), stops, wanted_.deadline);
    for (const std::stop_token& stop : stops)
      if (stop.stop_requested()) return Error::cancelled("stopped");
    if (stalled_)
      return Error::unavailable("{}: fewer than {} bytes a second came", request_.origin(), wanted_.least_speed);
    if (code == CURLE_OPERATION_TIMEDOUT && std::chrono::steady_clock::now() >= wanted_.deadline)
      return Error::unavailable("{}: no answer within the time allowed", request_.origin());
    if (code != CURLE_OK && !enough_) {
      Error error = request_.error_of(code);
      if (parser_.complete() || !request_.hides_reason(code)) return error;
      return request_.ask_for_reason(std::move(error), stops, wanted_.deadline);
    }
    if (!parser_.complete()) return Error::unavailable("{}: an answer without a head", request_.origin());
    parser_.head.url = wanted_.url;
    return std::move(parser_.head);
  }

  std::string redirect() const { return request_.redirect(); }

 private:
  struct Cleanup {
    void operator()(CURL* easy) const { curl().easy_cleanup(easy); }
  };

  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self) {
    auto& exchange = *static_cast<CurlExchange*>(self);
    exchange.client_.count_bytes(size);
    if (is_redirect(exchange.parser_.head.status)) return size;
    exchange.enough_ = !exchange.take_(exchange.parser_.head, {reinterpret_cast<const std::byte*>(data), size});
    return exchange.enough_ ? 0 : size;
  }

  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* self) {
    auto& exchange = *static_cast<CurlExchange*>(self);
    return exchange.parser_.add(exchange.easy_.get(), {data, size}) ? size : 0;
  }

  // Called every second or so. libcurl's own measure forgets a quick start too slowly.
  static int on_progress(void* self, curl_off_t, curl_off_t received, curl_off_t, curl_off_t sent) {
    auto& exchange = *static_cast<CurlExchange*>(self);
    const auto now = std::chrono::steady_clock::now();
    const curl_off_t moved = received + sent;
    const bool first = exchange.looked_at_ == std::chrono::steady_clock::time_point{};
    if (!first && now - exchange.looked_at_ < exchange.wanted_.stall) return 0;
    const auto least = static_cast<curl_off_t>(exchange.wanted_.least_speed) * exchange.wanted_.stall.count();
    exchange.stalled_ = !first && moved - exchange.moved_ < least;
    exchange.looked_at_ = now;
    exchange.moved_ = moved;
    return exchange.stalled_ ? 1 : 0;
  }

  HttpClient& client_;
  const HttpRequest& wanted_;
  const TakeBody& take_;
  std::unique_ptr<CURL, Cleanup> easy_;
  CurlRequest request_;
  HeadParser parser_;
  bool enough_ = false;
  bool stalled_ = false;
  std::chrono::steady_clock::time_point looked_at_{};  // the last time
  curl_off_t moved_ = 0;                               // bytes, until then
};

std::string_view HttpHead::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

HttpClient::HttpClient(Access access) : access_(std::move(access)), loop_(std::make_unique<HttpLoop>()) {}

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

namespace {

// Sends the request, and sends it on where redirects lead, without the credentials once that is another origin.
// `send(request, with_authorization)` gives an answer, of which `redirection_of` gives status and address.
template <typename Send, typename RedirectionOf>
auto follow(const HttpRequest& request, Send send, RedirectionOf redirection_of) -> decltype(send(request, true)) {
  HttpRequest current = request;
  if (const auto& loaded = load_curl(); !loaded) return loaded.error();
  const std::string origin = origin_of(request.url);
  bool same_origin = !request.anonymous;
  for (int redirects = 0;; ++redirects) {
    const std::string here = origin_of(current.url);
    if (here.empty()) return Error::unavailable("{}: sent on to what is no address of the web", origin);
    DADI_TRY(auto answer, send(current, same_origin));
    const Redirection next = redirection_of(answer);
    if (!is_redirect(next.status) || (request.method != "GET" && request.method != "HEAD")) return answer;
    if (redirects == kMostRedirects) return Error::unavailable("{}: more than {} redirects", origin, kMostRedirects);
    current.url = next.url;
    const std::string there = origin_of(current.url);
    if (here.starts_with("https://") && there.starts_with("http://"))
      return Error::denied("{}: sent on to {}, without TLS", origin, there);
    // Once away, the way back does not bring the credentials back.
    same_origin = same_origin && there == origin;
  }
}

}  // namespace

Result<std::unique_ptr<HttpTransfer>> HttpClient::start(const HttpRequest& request) {
  using Answer = std::unique_ptr<CurlTransfer>;
  const auto send = [&](const HttpRequest& current, bool with_authorization) -> Result<Answer> {
    auto transfer = std::make_unique<CurlTransfer>(*this, current, with_authorization);
    DADI_CHECK(transfer->wait_for_head());
    transfer->set_url(current.url);
    return transfer;
  };
  DADI_TRY(Answer answer, follow(request, send, [](const Answer& transfer) {
             return Redirection{transfer->head().status, transfer->redirect()};
           }));
  return std::unique_ptr<HttpTransfer>(std::move(answer));
}

Result<HttpHead> HttpClient::exchange(const HttpRequest& request, const TakeBody& take) {
  std::string redirect;
  const auto send = [&](const HttpRequest& current, bool with_authorization) -> Result<HttpHead> {
    CurlExchange exchange(*this, current, with_authorization, take);
    auto head = exchange.run();
    redirect = exchange.redirect();
    return head;
  };
  return follow(request, send, [&](const HttpHead& head) { return Redirection{head.status, redirect}; });
}

Result<HttpAnswer> HttpClient::perform(const HttpRequest& request, Bytes limit) {
  HttpAnswer answer;
  bool too_much = false;
  const TakeBody take = [&](const HttpHead&, std::span<const std::byte> bytes) {
    too_much = answer.body.size() + bytes.size() > limit.value;
    if (!too_much) answer.body.insert(answer.body.end(), bytes.begin(), bytes.end());
    return !too_much;
  };
  DADI_TRY(answer.head, exchange(request, take));
  if (too_much) return Error::unsupported("{}: an answer of more than {} bytes", origin_of(request.url), limit.value);
  return answer;
}

void HttpClient::count_request() const {
  if (access_.traffic) ++access_.traffic->requests;
}
void HttpClient::count_bytes(std::size_t bytes) const {
  if (access_.traffic) access_.traffic->bytes += bytes;
}

std::string origin_of(const std::string& url) {
  if (!load_curl()) return {};
  const std::unique_ptr<CURLU, FreeUrl> parsed(curl().url());
  if (curl().url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return {};
  const std::string scheme = lower_ascii(url_part(parsed.get(), CURLUPART_SCHEME));
  if (scheme != "http" && scheme != "https") return {};
  return scheme + "://" + lower_ascii(url_part(parsed.get(), CURLUPART_HOST)) + ":" +
         url_part(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

std::string resolve_url(const std::string& url, std::string_view location) {
  if (location.empty() || origin_of(url).empty()) return {};
  const std::unique_ptr<CURLU, FreeUrl> parsed(curl().url());
  if (curl().url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return {};
  if (curl().url_set(parsed.get(), CURLUPART_URL, std::string(location).c_str(), 0) != CURLUE_OK) return {};
  std::string resolved = url_part(parsed.get(), CURLUPART_URL);
  return origin_of(resolved).empty() ? std::string() : resolved;
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
