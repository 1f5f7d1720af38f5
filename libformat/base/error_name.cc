#include "libformat/base/error_name.h"

#include <array>
#include <utility>

namespace dadi {
namespace {

constexpr std::array<std::pair<ErrorCode, std::string_view>, 14> kNames = {{
    {ErrorCode::kNotFound, "not_found"},
    {ErrorCode::kInvalidArgument, "invalid_argument"},
    {ErrorCode::kCorruption, "corruption"},
    {ErrorCode::kUnsupported, "unsupported"},
    {ErrorCode::kIo, "io"},
    {ErrorCode::kUnavailable, "unavailable"},
    {ErrorCode::kUnauthenticated, "unauthenticated"},
    {ErrorCode::kDenied, "denied"},
    {ErrorCode::kExhausted, "exhausted"},
    {ErrorCode::kBusy, "busy"},
    {ErrorCode::kWouldBlock, "would_block"},
    {ErrorCode::kHostLacks, "host_lacks"},
    {ErrorCode::kCancelled, "cancelled"},
    {ErrorCode::kInternal, "internal"},
}};

}  // namespace

std::string_view name_of(ErrorCode code) {
  for (const auto& [known, name] : kNames) {
    if (known == code) return name;
  }
  return kNames.back().second;
}

ErrorCode error_code_named(std::string_view name) {
  for (const auto& [code, known] : kNames) {
    if (known == name) return code;
  }
  return ErrorCode::kInternal;
}

}  // namespace dadi
