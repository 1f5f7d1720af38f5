#include "runtime/nbd/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace dadi::nbd {
namespace {

using Ssl = std::unique_ptr<SSL, decltype(&SSL_free)>;

constexpr std::size_t kRecord = 16 << 10;  // bytes of data that a TLS record takes

std::string last_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "unknown error";
}

class TlsChannel final : public Channel {
 public:
  explicit TlsChannel(Ssl ssl) : ssl_(std::move(ssl)) {}

  Moved receive(std::span<std::byte> into) override {
    ERR_clear_error();
    std::size_t count = 0;
    const int result = SSL_read_ex(ssl_.get(), into.data(), into.size(), &count);
    return moved(result, count);
  }

  // Small pieces are gathered, so that each does not become a record of its own.
  Moved send(std::span<const iovec> pieces) override {
    ERR_clear_error();
    std::size_t size = 0;
    for (const iovec& piece : pieces) {
      const std::size_t part = std::min(piece.iov_len, record_.size() - size);
      std::memcpy(record_.data() + size, piece.iov_base, part);
      size += part;
    }
    std::size_t count = 0;
    const int result = SSL_write_ex(ssl_.get(), record_.data(), size, &count);
    return moved(result, count);
  }

  bool buffered() const override { return SSL_pending(ssl_.get()) > 0; }
  std::string failure() const override { return failure_; }

  void close() override {
    if (SSL_is_init_finished(ssl_.get()) == 1) SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }

 private:
  Moved moved(int result, std::size_t count) {
    if (result == 1) return {Moved::Status::kOk, count, 0};
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return {Moved::Status::kWouldBlock, 0, POLLIN};
      case SSL_ERROR_WANT_WRITE:
        return {Moved::Status::kWouldBlock, 0, POLLOUT};
      case SSL_ERROR_SSL:
        failure_ = last_error();
        break;
      default:
        ERR_clear_error();
    }
    return {Moved::Status::kClosed, 0, 0};
  }

  Ssl ssl_;
  std::array<std::byte, kRecord> record_;
  std::string failure_;
};

Error cannot_use(const std::string& file, std::string_view what) {
  return Error::invalid_argument("{}: not {}: {}", file, what, last_error());
}

}  // namespace

Result<std::unique_ptr<TlsContext>> TlsContext::load(const TlsFiles& files) {
  for (const std::string& file : {files.certificate, files.key, files.authority}) {
    if (!file.empty() && ::access(file.c_str(), R_OK) != 0) return Error::from_errno(errno, file);
  }
  ERR_clear_error();
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (context == nullptr) return Error::exhausted("OpenSSL: {}", last_error());
  std::unique_ptr<TlsContext> result(new TlsContext(context));
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1)
    return cannot_use(files.certificate, "a certificate in PEM form");
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1)
    return cannot_use(files.key, "the certificate's key");
  if (files.authority.empty()) return result;
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(files.authority.c_str());
  if (names == nullptr || SSL_CTX_load_verify_file(context, files.authority.c_str()) != 1) {
    sk_X509_NAME_pop_free(names, X509_NAME_free);
    return cannot_use(files.authority, "certificates of an authority");
  }
  SSL_CTX_set_client_CA_list(context, names);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return result;
}

TlsContext::~TlsContext() {
  SSL_CTX_free(context_);
}

Result<std::unique_ptr<Channel>> TlsContext::channel(int socket) const {
  ERR_clear_error();
  Ssl ssl(SSL_new(context_), &SSL_free);
  if (!ssl || SSL_set_fd(ssl.get(), socket) != 1) return Error::exhausted("OpenSSL: {}", last_error());
  SSL_set_accept_state(ssl.get());
  return std::unique_ptr<Channel>(std::make_unique<TlsChannel>(std::move(ssl)));
}

}  // namespace dadi::nbd
