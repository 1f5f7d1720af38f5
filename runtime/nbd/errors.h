// How failures are told to NBD clients.
#pragma once

#include <string_view>

#include "libformat/base/result.h"
#include "runtime/nbd/protocol.h"

namespace dadi::nbd {

// The one table from what failed to the error that a client gets.
Errno errno_of(ErrorCode code);

// A few words for the client's user. Nothing in them tells of this host: an Error's own message may name files, and
// goes to the observer.
std::string_view message_of(Errno number);

}  // namespace dadi::nbd
