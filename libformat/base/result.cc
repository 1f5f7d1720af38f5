#include "libformat/base/result.h"

#include <cerrno>
#include <system_error>

namespace dadi {

Error Error::from_errno(int number, const std::string& what) {
  ErrorCode code = ErrorCode::kIo;
  switch (number) {
    case ENOENT:
    case ENOTDIR:
      code = ErrorCode::kNotFound;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = ErrorCode::kDenied;
      break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      code = ErrorCode::kExhausted;
      break;
    case EBUSY:
      code = ErrorCode::kBusy;
      break;
    default:
      break;
  }
  return Error(code, what + ": " + std::generic_category().message(number));
}

}  // namespace dadi
