// The folder in which attachments are remembered between commands.
//
//   lock                      whoever attaches or detaches holds it while it changes what is below
//   attachments/NAME.json     one for each attachment
//   devices/ID/               one for each device, shared by the attachments that name it:
//     lock                    held by the dadid that serves it, or by who is starting one: the truth about alive or
//     dead;
//                             in it the process id of that dadid
//     device.json             what was asked for
//     state.json              what has become of it; missing until the device can be used
//     control.sock            one JSON object a line, answered by one
//     writes                  of a device that is written to: see write_ledger.h
//     metrics.sock            Prometheus text over HTTP
//     log, log.1              what dadid had to say
//
// Files appear whole or not at all. Nothing survives a reboot: entries of another boot count as dead.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "libformat/base/result.h"
#include "runtime/attach/file_lock.h"
#include "runtime/attach/records.h"

namespace dadi::attach {

// One device's folder. A value type: it names the folder and holds nothing.
class DeviceFolder {
 public:
  explicit DeviceFolder(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }
  std::string id() const { return path_.filename().string(); }
  std::filesystem::path lock_path() const { return path_ / "lock"; }
  std::filesystem::path control_path() const { return path_ / "control.sock"; }
  std::filesystem::path metrics_path() const { return path_ / "metrics.sock"; }
  std::filesystem::path writes_path() const { return path_ / "writes"; }
  std::filesystem::path log_path() const { return path_ / "log"; }

  bool exists() const;
  // Whether a dadid serves it or is being started. Errors: io.
  Result<bool> alive() const { return FileLock::is_held(lock_path()); }

  // Of its dadid, living or dead; 0 when there was none yet.
  pid_t pid() const;

  // Errors: not_found, corruption, io.
  Result<DeviceSpec> spec() const;
  Result<DeviceState> state() const;
  // Nothing when it cannot be read, as while it starts.
  std::optional<DeviceState> known_state() const;
  Result<void> write_spec(const DeviceSpec& spec) const;
  Result<void> write_state(const DeviceState& state) const;
  Result<void> forget_state() const;

  // The folder and all in it, and the writable layer that goes with it. REQUIRES: nobody holds its lock but the caller.
  Result<void> remove() const;

 private:
  std::filesystem::path path_;
};

// Move-only. Changes are made by one process at a time, the one that holds lock().
class StateFolder {
 public:
  // `dadi` in $XDG_RUNTIME_DIR when that is the user's own, else in /run; made when it is missing.
  // Errors: denied (hint: be root), io.
  static Result<StateFolder> open();
  // The same folder, without making it: nothing when there is none.
  static Result<std::optional<StateFolder>> find();
  static std::filesystem::path location();

  // Waits for its turn.
  Result<FileLock> lock() const { return FileLock::take(path_ / "lock"); }

  DeviceFolder device(const std::string& id) const { return DeviceFolder(path_ / "devices" / id); }
  // In the order of their names. Entries that cannot be read are left out: their dadid is of another version.
  std::vector<DeviceFolder> devices() const;
  std::vector<Attachment> attachments() const;
  // Of one device.
  std::vector<Attachment> attachments_of(const std::string& device_id) const;
  // Errors: not_found, corruption, io.
  Result<Attachment> attachment(const std::string& name) const;
  Result<void> write(const Attachment& attachment) const;
  Result<void> remove(const Attachment& attachment) const;
  // Removes attachments that were half written when their writer was killed. REQUIRES: the caller holds the lock.
  void remove_half_written() const;

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit StateFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path attachment_path(const std::string& name) const;

  std::filesystem::path path_;
};

// Letters, digits and ._-, not starting with a dot or dash, at most 64: what an attachment may be called.
bool is_name(std::string_view text);

}  // namespace dadi::attach
