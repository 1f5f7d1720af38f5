// Results of operations that can fail, without exceptions.
//
//   Result<Layer> open_layer(...) {
//     DADI_TRY(auto header, read_header(blob));              // declares header, or returns the error
//     DADI_CHECK(check_header(header).context("header"));    // goes on, or returns the error
//     if (header.flags != 7) return Error::corruption("flags {:#x}, not 7", header.flags);
//     return Layer(header);
//   }
#pragma once

#include <fmt/core.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace dadi {

// What kind of failure this is: decides a program's exit status and a server's answer (see apps/dadi/exit_code.h).
enum class ErrorCode {
  kNotFound,         // a file, blob, tag or path that does not exist
  kInvalidArgument,  // the caller's words make no sense
  kCorruption,       // input that contradicts its own format or digest, or differs from what it should equal
  kUnsupported,      // well-formed, but of a kind that is not handled
  kIo,               // the operating system reported an error
  kUnavailable,      // a remote side that may answer later
  kUnauthenticated,  // credentials are missing or wrong
  kDenied,           // credentials do not suffice
  kExhausted,        // a limit was reached: space, inodes, records
  kBusy,             // in use by somebody else
  kWouldBlock,       // an answer from memory alone was asked for, and memory does not have it
  kHostLacks,        // this host has no such feature
  kCancelled,        // stopped on request
  kInternal,         // a bug of ours
};

// A failure: its kind, a message for people, and (optional) what to do about it. Context is put in front of the
// message on the way up: "layer 3 (sha256:ab12…): zfile block 812: checksum mismatch". A value type.
class [[nodiscard]] Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }

  // The error with "<text>: " in front of its message.
  template <typename... Args>
  Error context(fmt::format_string<Args...> format, Args&&... args) && {
    message_.insert(0, fmt::format(format, std::forward<Args>(args)...) + ": ");
    return std::move(*this);
  }

  // The error with a remedy, printed on a line of its own. An innermost hint stands.
  template <typename... Args>
  Error with_hint(fmt::format_string<Args...> format, Args&&... args) && {
    if (hint_.empty()) hint_ = fmt::format(format, std::forward<Args>(args)...);
    return std::move(*this);
  }

#define DADI_ERROR_FACTORY(name, code)                                    \
  template <typename... Args>                                             \
  static Error name(fmt::format_string<Args...> format, Args&&... args) { \
    return Error(code, fmt::format(format, std::forward<Args>(args)...)); \
  }
  DADI_ERROR_FACTORY(not_found, ErrorCode::kNotFound)
  DADI_ERROR_FACTORY(invalid_argument, ErrorCode::kInvalidArgument)
  DADI_ERROR_FACTORY(corruption, ErrorCode::kCorruption)
  DADI_ERROR_FACTORY(unsupported, ErrorCode::kUnsupported)
  DADI_ERROR_FACTORY(io, ErrorCode::kIo)
  DADI_ERROR_FACTORY(unavailable, ErrorCode::kUnavailable)
  DADI_ERROR_FACTORY(unauthenticated, ErrorCode::kUnauthenticated)
  DADI_ERROR_FACTORY(denied, ErrorCode::kDenied)
  DADI_ERROR_FACTORY(exhausted, ErrorCode::kExhausted)
  DADI_ERROR_FACTORY(busy, ErrorCode::kBusy)
  DADI_ERROR_FACTORY(would_block, ErrorCode::kWouldBlock)
  DADI_ERROR_FACTORY(host_lacks, ErrorCode::kHostLacks)
  DADI_ERROR_FACTORY(cancelled, ErrorCode::kCancelled)
  DADI_ERROR_FACTORY(internal, ErrorCode::kInternal)
#undef DADI_ERROR_FACTORY

  // "<what>: <text of errno>", of the kind that this errno means (ENOENT is not_found, ENOSPC is exhausted …).
  static Error from_errno(int number, const std::string& what);

 private:
  ErrorCode code_;
  std::string message_;
  std::string hint_;
};

// A T, or the Error that kept it from being. [[nodiscard]]: an ignored failure does not compile.
template <typename T = void>
class [[nodiscard]] Result : private tl::expected<T, Error> {
  using Base = tl::expected<T, Error>;

 public:
  using value_type = T;
  using Base::Base;
  using Base::has_value;
  using Base::operator bool;
  using Base::operator*;
  using Base::operator->;
  using Base::error;
  using Base::value;

  // NOLINTNEXTLINE(google-explicit-constructor): `return Error::io(...)` is the point
  Result(Error failure) : Base(tl::unexpect, std::move(failure)) {}

  template <typename... Args>
  Result context(fmt::format_string<Args...> format, Args&&... args) && {
    if (!has_value()) error() = std::move(error()).context(format, std::forward<Args>(args)...);
    return std::move(*this);
  }

  template <typename... Args>
  Result with_hint(fmt::format_string<Args...> format, Args&&... args) && {
    if (!has_value()) error() = std::move(error()).with_hint(format, std::forward<Args>(args)...);
    return std::move(*this);
  }
};

}  // namespace dadi

#define DADI_CONCAT_(a, b) a##b
#define DADI_CONCAT(a, b) DADI_CONCAT_(a, b)

// Returns the error of `expression` from this function, if it failed.
#define DADI_CHECK(...)                                                                        \
  do {                                                                                         \
    if (auto dadi_result = (__VA_ARGS__); !dadi_result) return std::move(dadi_result).error(); \
  } while (false)

// DADI_TRY(auto x, f()): declares x with the value of f(), or returns its error from this function.
#define DADI_TRY(declaration, ...)                                                                   \
  auto DADI_CONCAT(dadi_try_, __LINE__) = (__VA_ARGS__);                                             \
  if (!DADI_CONCAT(dadi_try_, __LINE__)) return std::move(DADI_CONCAT(dadi_try_, __LINE__)).error(); \
  declaration = std::move(*DADI_CONCAT(dadi_try_, __LINE__))
