// HTTP requests with bodies in bounded memory, on libcurl: TLS always verified, connections reused, HTTP/2 where it is
// offered, redirects followed without the credentials of the host that sent them.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "libconvert/registry/access.h"
#include "libformat/base/result.h"
#include "libformat/base/units.h"
#include "libformat/blob/byte_stream.h"

namespace dadi::registry {

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers = {};  // "Name: value"
  std::string authorization = {};         // for the origin of `url` alone; never in a message
  std::span<const std::byte> body = {};   // borrowed until the answer is complete
  bool anonymous = false;                 // without the client's certificate: `url` is another's
  // A transfer is broken off that has brought fewer than this many bytes a second for that long.
  unsigned least_speed = 1;
  std::chrono::seconds stall{30};
  // Of exchange() alone:
  std::stop_token stop = {};  // besides that of the client
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  bool new_connection = false;  // not over one that others used: it may be what is broken
};

// The head of an answer.
struct HttpHead {
  long status = 0;
  std::vector<std::pair<std::string, std::string>> headers = {};  // names in lower case
  long retry_after = 0;                                           // seconds; 0: not said
  std::string url = {};                                           // that answered, after redirects

  // The first of that name, or "". `name` in lower case.
  std::string_view header(std::string_view name) const;
};

struct HttpAnswer {
  HttpHead head;
  std::vector<std::byte> body;
};

// What requests cost, counted by all clients that are given it. Thread-safe.
struct Traffic {
  std::atomic<std::uint64_t> requests = 0;  // redirects, too
  std::atomic<std::uint64_t> bytes = 0;     // of bodies of answers
};

// Where the body of an answer goes while it arrives. False: no more of it is wanted. Called by a thread of the
// client's, so it must be quick.
using TakeBody = std::function<bool(const HttpHead& head, std::span<const std::byte> bytes)>;

// A curl handle with its connections. Internal.
class HttpHandle;
class HttpLoop;

// An answer whose body is on its way. One thread at a time; must not outlive its client.
class HttpTransfer : public ByteSource {
 public:
  virtual const HttpHead& head() const = 0;
};

// Thread-safe: any number of requests may run at once. Answers that are started, and read at their reader's pace, have
// a connection each; those of exchange() and perform() share connections, and HTTP/2 carries many of them on one.
class HttpClient {
 public:
  explicit HttpClient(Access access);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Sends, and waits for the head of the answer, whatever its status; GET and HEAD follow redirects.
  // Errors: unavailable (not reached, broken off, stalled: may be tried again), denied (a certificate that is not
  // trusted), unsupported (no TLS is spoken there), host_lacks (no libcurl), invalid_argument (a CA file or client
  // certificate that cannot be used), cancelled. The transfer's next() fails likewise.
  Result<std::unique_ptr<HttpTransfer>> start(const HttpRequest& request);

  // The same, with the body passed to `take` (of redirects, none of it). Returns when it is complete, or `take` wants
  // no more. Errors: the same; unavailable after the request's deadline. What `take` got before an error is sound.
  Result<HttpHead> exchange(const HttpRequest& request, const TakeBody& take);

  // The same with the whole body. Errors: and unsupported (more than `limit`).
  Result<HttpAnswer> perform(const HttpRequest& request, Bytes limit);

  const Access& access() const { return access_; }

 private:
  friend class CurlTransfer;
  friend class CurlExchange;
  std::unique_ptr<HttpHandle> take();
  void give_back(std::unique_ptr<HttpHandle> handle);
  void count_request() const;
  void count_bytes(std::size_t bytes) const;

  Access access_;
  std::unique_ptr<HttpLoop> loop_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<HttpHandle>> idle_;
};

// "https://host:port" of a URL, in lower case, the port always there. Empty: not a URL of http or https.
std::string origin_of(const std::string& url);
// What a Location in the answer of `url` means: an absolute URL of http or https, or empty.
std::string resolve_url(const std::string& url, std::string_view location);
// Whether the host (with or without a port) is this machine itself.
bool is_loopback(std::string_view host);
// `text` for a query or path, percent-encoded.
std::string url_encode(std::string_view text);

}  // namespace dadi::registry
