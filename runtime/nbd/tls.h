// TLS, for clients that come over a network.
#pragma once

#include <memory>
#include <string>

#include "libformat/base/result.h"
#include "runtime/nbd/channel.h"

struct ssl_ctx_st;

namespace dadi::nbd {

// Files in PEM form.
struct TlsFiles {
  std::string certificate;  // the server's, and those between it and its authority
  std::string key;
  std::string authority;  // whose certificates clients must have; empty: any client will do
};

// TLS 1.2 or later. Thread-safe.
class TlsContext {
 public:
  // Errors: not_found, invalid_argument (a file that does not hold what it should, a key of another certificate).
  static Result<std::unique_ptr<TlsContext>> load(const TlsFiles& files);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // The server's side on `socket`, which is borrowed and must not block. The handshake happens in the first calls; a
  // client without the right certificate is kClosed. REQUIRES: the calling thread blocks SIGPIPE.
  // Errors: exhausted.
  Result<std::unique_ptr<Channel>> channel(int socket) const;

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}

  ssl_ctx_st* context_;
};

}  // namespace dadi::nbd
