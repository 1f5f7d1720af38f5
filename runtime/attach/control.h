// How commands talk to a dadid: over a unix socket, one JSON object a line, answered by one.
//
//   {"request":"status"}   → the state, once the device can be used: until then the answer waits
//   {"request":"stats"}    → counters
//   {"request":"stop"}     → {} and the device is gone; or an error, and nothing has changed
//   {"request":"upgrade","program":"/…"}  → {"generation":N}: what status will say when the program has taken this
//   one's
//                            place; status has "failed_upgrade", an error, when it did not
//   {"request":"changes"}  → {"changes":N,"sparse":…}: nobody has written while N stays the same; the layer's form
//   {"request":"go_on_in","layer":"layer-UUID","changes":N}  → {} and writes go to that layer of the writable folder;
//                            an error, if there were other changes meanwhile
//   {"request":"put_on_image","layer":"layer-UUID","image":{…}}  → {} and that layer lies on that image from the next
//                            opening on; those below it are deleted
//
// A reply that is a failure is {"error":{"code","message","hint"}}.
#pragma once

#include <chrono>
#include <filesystem>
#include <stop_token>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"
#include "runtime/attach/records.h"

namespace dadi::attach {

// How long to wait for another process.
struct Patience {
  std::chrono::steady_clock::time_point end;
  std::stop_token stop;

  static Patience of(std::chrono::milliseconds time, std::stop_token stop = {}) {
    return {std::chrono::steady_clock::now() + time, std::move(stop)};
  }
};

// Until poll(2) has one of `events` for the descriptor. Errors: unavailable (not in time), cancelled, io.
Result<void> wait_for(int fd, short events, const Patience& patience);

// A listening socket, mode 0600, in place of what is there. Any length of path. Errors: io, denied.
Result<UniqueFd> listen_on(const std::filesystem::path& path);

// Asks and waits for the answer.
// Errors: not_found (nobody listens), unavailable (no answer in time, or the other side went away), corruption (an
// answer that is none), cancelled, and the error that the answer is.
Result<Json> ask(const std::filesystem::path& socket, const Json& request, const Patience& patience);

}  // namespace dadi::attach
