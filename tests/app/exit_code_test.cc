#include "apps/dadi/exit_code.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace dadi {
namespace {

constexpr ErrorCode kAllCodes[] = {
    ErrorCode::kNotFound,
    ErrorCode::kInvalidArgument,
    ErrorCode::kCorruption,
    ErrorCode::kUnsupported,
    ErrorCode::kIo,
    ErrorCode::kUnavailable,
    ErrorCode::kUnauthenticated,
    ErrorCode::kDenied,
    ErrorCode::kExhausted,
    ErrorCode::kBusy,
    ErrorCode::kHostLacks,
    ErrorCode::kCancelled,
    ErrorCode::kWouldBlock,
    ErrorCode::kInternal,
};

TEST(ExitCode, IsWhatTheDocumentationPromisesForEachKindOfError) {
  const std::map<ErrorCode, int> documented = {
      {ErrorCode::kNotFound, 5},
      {ErrorCode::kInvalidArgument, 2},
      {ErrorCode::kCorruption, 4},
      {ErrorCode::kUnsupported, 8},
      {ErrorCode::kIo, 1},
      {ErrorCode::kUnavailable, 7},
      {ErrorCode::kUnauthenticated, 6},
      {ErrorCode::kDenied, 6},
      {ErrorCode::kExhausted, 1},
      {ErrorCode::kBusy, 9},
      {ErrorCode::kWouldBlock, 1},
      {ErrorCode::kHostLacks, 10},
      {ErrorCode::kCancelled, 1},
      {ErrorCode::kInternal, 1},
  };
  for (const ErrorCode code : kAllCodes) {
    EXPECT_EQ(static_cast<int>(exit_code_of(code)), documented.at(code)) << name_of(code);
  }
}

TEST(ExitCode, EveryKindOfErrorHasANameOfItsOwnInJson) {
  std::set<std::string_view> names;
  for (const ErrorCode code : kAllCodes) names.insert(name_of(code));
  EXPECT_EQ(names.size(), std::size(kAllCodes));
  EXPECT_TRUE(names.contains("not_found"));
}

}  // namespace
}  // namespace dadi
