// The handshake with a client, up to the transmission phase: fixed newstyle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libformat/base/result.h"
#include "runtime/nbd/export.h"
#include "runtime/nbd/output.h"
#include "runtime/nbd/protocol.h"

namespace dadi::nbd {

// What both sides agreed on.
struct Agreement {
  const Export* served = nullptr;  // borrowed from the list of exports
  bool structured = false;         // structured replies
  bool allocation = false;         // block status of base:allocation
};

// What an export can do, as the transmission flags have it.
std::uint16_t transmission_flags(const Export& served, bool structured);

// Reads what the client says and writes what it is answered; does no I/O of its own. A client that keeps to the
// protocol gets an answer to every option, known or not; a client that does not is an error. One thread.
class Negotiation {
 public:
  enum class State {
    kOpen,      // more to come
    kStartTls,  // the last answer is still in plain text; what follows is TLS: call tls_started()
    kAgreed,    // see agreement()
    kAborted,   // the client wished so
  };

  // `exports`, at least one, are borrowed; an empty name asks for the first. With `tls_required` nothing but TLS can be
  // begun. Greets the client.
  Negotiation(std::span<const Export> exports, bool tls_required, Output& out);

  // Takes what is complete from the front of `input` and answers it, until the state changes: the bytes taken.
  // Errors: invalid_argument (the client does not keep to the protocol: disconnect it).
  Result<std::size_t> consume(std::span<const std::byte> input, Output& out);

  State state() const { return state_; }
  const Agreement& agreement() const { return agreement_; }
  void tls_started();

 private:
  Result<std::size_t> take_flags(std::span<const std::byte> input);
  Result<std::size_t> take_option(std::span<const std::byte> input, Output& out);
  Result<void> answer(Option option, std::span<const std::byte> data, Output& out);
  Result<void> export_name(std::string_view name, Output& out);
  void list(std::span<const std::byte> data, Output& out);
  void start_tls(std::span<const std::byte> data, Output& out);
  void info(Option option, std::span<const std::byte> data, Output& out);
  void structured_reply(std::span<const std::byte> data, Output& out);
  void meta_context(Option option, std::span<const std::byte> data, Output& out);
  void agree_on(const Export& served);
  const Export* find(std::string_view name) const;

  std::span<const Export> exports_;
  bool tls_possible_;
  bool tls_required_;
  State state_ = State::kOpen;
  bool greeted_ = false;  // the client's flags came
  bool no_zeroes_ = false;
  std::size_t options_ = 0;
  std::uint64_t skip_ = 0;  // bytes of an option too long to be looked at
  bool structured_ = false;
  std::optional<std::string> allocation_of_;  // the name of the export that base:allocation was set for
  Agreement agreement_;
};

}  // namespace dadi::nbd
