// Another program in place of a running dadid, whose device does not notice.
#pragma once

#include <filesystem>
#include <stop_token>
#include <string>

#include "libformat/base/result.h"
#include "runtime/attach/records.h"
#include "runtime/attach/state_folder.h"

namespace dadi::attach {

struct UpgradeRequest {
  std::string name;               // of an attachment
  std::filesystem::path program;  // a dadid
  std::stop_token stop;
};

// The program is tried out first: it must open the image, beside the dadid that serves it. Then it takes that one's
// place, as the same process; if it still fails, the old one goes on. Reads wait for a moment, and none fails. What the
// new dadid says of its device.
// Errors: not_found (no such attachment), unavailable (its dadid is dead), unsupported (a backend that cannot),
// what kept the program from serving; all of them leave the device served as before.
Result<DeviceState> upgrade(const StateFolder& folder, const UpgradeRequest& request);

}  // namespace dadi::attach
