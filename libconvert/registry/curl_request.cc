#include "libconvert/registry/curl_request.h"

#include <poll.h>

#include <algorithm>

#include "libformat/base/ascii.h"
#include "libformat/base/bytes.h"

namespace dadi::registry {

namespace {

constexpr std::size_t kMostHeaders = 256 << 10;  // bytes of an answer's head
constexpr long kConnectSeconds = 15;
constexpr std::chrono::milliseconds kReasonTime(2000);  // for a handshake, and what follows it
constexpr std::chrono::milliseconds kGlance(100);       // between looks whether to stop

// Whether the other side ended TLS because of our certificate, or for lack of one: an alert (RFC 8446 §6.2), of which
// curl has no code.
bool wants_client_certificate(std::string_view text) {
  if (text.find("alert") == std::string_view::npos) return false;
  const auto says = [&](std::string_view word) { return text.find(word) != std::string_view::npos; };
  return says("certificate") || says("unknown ca") || says("handshake failure");
}

Error refused_certificate(const std::string& origin, std::string_view text) {
  return Error::denied("{}: it does not accept this side's certificate: {}", origin, text)
      .with_hint("show it one that it knows: --client-cert FILE, --client-key FILE");
}

}  // namespace

CurlRequest::CurlRequest(CURL* easy, const HttpRequest& request, const Access& access, bool with_authorization)
    : easy_(easy), origin_(origin_of(request.url)) {
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "https,http");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  set(CURLOPT_LOW_SPEED_LIMIT, static_cast<long>(request.least_speed));
  set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(request.stall.count()));
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

void CurlRequest::add_header(const std::string& header) {
  headers_.reset(curl().slist_append(headers_.release(), header.c_str()));
}

// curl's texts name hosts and files, never headers.
Error CurlRequest::error_of(CURLcode code) const {
  const char* text = detail_[0] != '\0' ? detail_.data() : curl().easy_strerror(code);
  if (code != CURLE_OK && wants_client_certificate(text)) return refused_certificate(origin_, text);
  const bool expired = std::string_view(text).find("expired") != std::string_view::npos;
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
      if (expired)
        return Error::denied("{}: its certificate is not trusted: {}", origin_, text)
            .with_hint("the registry needs a new certificate, or this host's clock is wrong");
      return Error::denied("{}: its certificate is not trusted: {}", origin_, text)
          .with_hint("name the authority that signed it: --ca-file FILE");
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return Error::invalid_argument("certificates for {}: {}", origin_, text);
    case CURLE_SSL_CONNECT_ERROR:
      return Error::unsupported("{}: no TLS connection: {}", origin_, text);
    default:
      return Error::unavailable("{}: {}", origin_, text);
  }
}

bool CurlRequest::hides_reason(CURLcode code) const {
  if (!origin_.starts_with("https:")) return false;
  return code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING || code == CURLE_HTTP2;
}

Error CurlRequest::ask_for_reason(Error error, std::span<const std::stop_token> stops,
                                  std::chrono::steady_clock::time_point deadline) {
  using Clock = std::chrono::steady_clock;
  const auto until = std::min(deadline, Clock::now() + kReasonTime);
  const auto left = [&] { return std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()); };
  const auto over = [&] {
    return left().count() <= 0 || std::ranges::any_of(stops, [](const auto& stop) { return stop.stop_requested(); });
  };
  if (over()) return error;
  std::string refusal;  // the buffer for errors would keep the first there is
  const auto hear = +[](CURL*, curl_infotype type, char* data, std::size_t size, void* into) {
    const std::string_view text(data, size);
    if (type == CURLINFO_TEXT && text.find("(OUT)") == std::string_view::npos && wants_client_certificate(text))
      *static_cast<std::string*>(into) = text.substr(0, text.find('\n'));
    return 0;
  };
  set(CURLOPT_DEBUGFUNCTION, hear);
  set(CURLOPT_DEBUGDATA, &refusal);
  set(CURLOPT_VERBOSE, 1L);
  set(CURLOPT_CONNECT_ONLY, 1L);
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));  // HTTP/2 speaks first
  set(CURLOPT_FRESH_CONNECT, 1L);
  set(CURLOPT_PIPEWAIT, 0L);
  set(CURLOPT_NOPROGRESS, 1L);
  set(CURLOPT_TIMEOUT_MS, std::max(1L, static_cast<long>(left().count())));
  CURLcode code = curl().easy_perform(easy_);
  pollfd readable{.fd = -1, .events = POLLIN, .revents = 0};
  if (code == CURLE_OK) code = curl().easy_getinfo(easy_, CURLINFO_ACTIVESOCKET, &readable.fd);
  // What is readable first may be a ticket of the session, which curl takes by itself.
  while ((code == CURLE_OK || code == CURLE_AGAIN) && !over()) {
    if (::poll(&readable, 1, static_cast<int>(std::min(left(), kGlance).count())) <= 0) continue;
    char byte = 0;
    std::size_t read = 0;
    code = curl().easy_recv(easy_, &byte, 1, &read);
  }
  set(CURLOPT_VERBOSE, 0L);  // `refusal` ends here
  return refusal.empty() ? error : refused_certificate(origin_, refusal);
}

std::string CurlRequest::redirect() const {
  char* url = nullptr;
  curl().easy_getinfo(easy_, CURLINFO_REDIRECT_URL, &url);
  return url != nullptr ? url : "";
}

bool HeadParser::add(CURL* easy, std::string_view line) {
  if ((bytes_ += line.size()) > kMostHeaders) return false;
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {
    head.headers.clear();
  } else if (line.empty()) {
    curl().easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &head.status);
    if (head.status < 200) return true;
    complete_ = true;
    curl_off_t seconds = 0;
    curl().easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds);
    head.retry_after = static_cast<long>(seconds);
  } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    head.headers.emplace_back(lower_ascii(line.substr(0, colon)), value);
  }
  return true;
}

}  // namespace dadi::registry
