// Attaching and detaching: what is in the state folder, and the processes behind it, brought from one whole state to
// the next. Whatever a killed command left half done, the next one finds and finishes.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "libformat/base/result.h"
#include "runtime/attach/mounts.h"
#include "runtime/attach/records.h"
#include "runtime/attach/state_folder.h"

namespace dadi::attach {

// An attachment, and how its device fares.
struct Listing {
  enum class State {
    kStarting,
    kRunning,
    kDead,  // its dadid is gone, and it was not detached
  };

  Attachment attachment;
  State state = State::kDead;
  std::optional<DeviceSpec> spec;
  std::optional<DeviceState> device;  // the last known; none while it starts
  std::string control_socket;
};

std::string_view name_of(Listing::State state);

struct AttachRequest {
  DeviceSpec spec;
  std::string reference;  // for people
  std::string name;       // "": like_name, or with a number behind it when that is taken
  std::string like_name;
  std::filesystem::path mount;  // absolute; empty: none
  MountOptions mount_options;   // writable if the device is
  std::filesystem::path dadid;  // the program
  std::stop_token stop;
  std::function<void(std::string_view)> note;
};

// Makes the image a block device, or joins those who have it attached already; mounts it. All or nothing. A name whose
// dadid died is attached again: the device goes on where it can, else a new one takes its place.
// Errors: busy (the name is taken, the mount point in use), invalid_argument, those of opening the image (as dadid
// tells them), host_lacks, denied, cancelled, unavailable (dadid ended without a word), io.
Result<Listing> attach(const StateFolder& folder, const AttachRequest& request);

struct DetachRequest {
  std::string target;  // a name, a device or a mount point
  bool lazy = false;   // take it away from under its users, who have it until they let it go
  std::stop_token stop;
};

// What was written to the device is flushed before it goes. Errors: not_found; busy (in use, and not lazy: the hint
// names by whom); exhausted and io (not lazy, and what was written could not be flushed: it stays attached).
Result<Attachment> detach(const StateFolder& folder, const DetachRequest& request);

// All attachments, in the order of their names.
Result<std::vector<Listing>> list(const StateFolder& folder);

}  // namespace dadi::attach
