// HTTP requests with bodies in bounded memory, on libcurl: TLS always verified, connections reused, HTTP/2 where it is
// offered, redirects followed without the credentials of the host that sent them.
#pragma once

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

// A curl handle with its connections. Internal.
class HttpHandle;

// An answer whose body is on its way. One thread at a time; must not outlive its client.
class HttpTransfer : public ByteSource {
 public:
  virtual const HttpHead& head() const = 0;
};

// Thread-safe: any number of requests may run at once, each on a connection of its own.
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

  // The same with the whole body. Errors: and unsupported (more than `limit`).
  Result<HttpAnswer> perform(const HttpRequest& request, Bytes limit);

  const Access& access() const { return access_; }

 private:
  friend class CurlTransfer;
  std::unique_ptr<HttpHandle> take();
  void give_back(std::unique_ptr<HttpHandle> handle);

  Access access_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<HttpHandle>> idle_;
};

// "https://host:port" of a URL, in lower case, the port always there. Empty: not a URL of http or https.
std::string origin_of(const std::string& url);
// Whether the host (with or without a port) is this machine itself.
bool is_loopback(std::string_view host);
// `text` for a query or path, percent-encoded.
std::string url_encode(std::string_view text);

}  // namespace dadi::registry
