// What libcurl is told of one request, whichever way it is sent. For libconvert/registry alone.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <span>
#include <stop_token>

#include "libconvert/registry/curl.h"
#include "libconvert/registry/http.h"

namespace dadi::registry {

struct FreeList {
  void operator()(curl_slist* list) const { curl().slist_free_all(list); }
};

// A request on an easy handle: its options, and what is kept for as long as it runs. One thread at a time.
class CurlRequest {
 public:
  // Sets the handle's options; without `with_authorization` neither credentials nor certificates go along. Borrows
  // handle, request.body and `access`.
  CurlRequest(CURL* easy, const HttpRequest& request, const Access& access, bool with_authorization);

  template <typename T>
  void set(CURLoption option, T value) {
    curl().easy_setopt(easy_, option, value);
  }

  // What a failed transfer means.
  Error error_of(CURLcode code) const;
  // Whether a transfer that got no answer may have failed for a reason that was not heard: in TLS 1.3 a side refuses a
  // certificate after the handshake, and its reset may be seen before what it says.
  bool hides_reason(CURLcode code) const;
  // Connects once more, sends nothing, and waits for what the other side has against that: two seconds at most, less
  // when `deadline` comes or one of `stops` is asked for. Gives `error` when it says nothing.
  // REQUIRES: the handle is in no transfer.
  Error ask_for_reason(Error error, std::span<const std::stop_token> stops,
                       std::chrono::steady_clock::time_point deadline);
  // Where a redirect leads, or "".
  std::string redirect() const;
  const std::string& origin() const { return origin_; }

 private:
  void add_header(const std::string& header);

  CURL* easy_;
  std::string origin_;
  std::unique_ptr<curl_slist, FreeList> headers_;
  std::array<char, CURL_ERROR_SIZE> detail_{};
};

// The head of an answer, line by line.
class HeadParser {
 public:
  // A line as libcurl passes it on. False: there are too many.
  bool add(CURL* easy, std::string_view line);
  bool complete() const { return complete_; }

  HttpHead head;

 private:
  std::size_t bytes_ = 0;
  bool complete_ = false;
};

}  // namespace dadi::registry
