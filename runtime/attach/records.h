// What the state folder remembers, as JSON: of each device what was asked for and what became of it, and of each
// attachment where it leads. Value types.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi::attach {

using Json = nlohmann::ordered_json;

// A layer on top of an image, for what is written to a device.
struct WritableSpec {
  std::string folder;      // absolute
  Bytes limit{};           // of room taken; 0: none
  std::string form;        // of a new layer: "append" or "sparse"
  bool temporary = false;  // the folder was made for this device, and goes with it
  bool journal = false;    // a file system that has none gets one
};

// What a dadid shall serve, and how: devices/ID/device.json, written before it starts.
struct DeviceSpec {
  std::string image;                          // what it holds: two devices with the same could be one
  std::string reference;                      // the image for dadid to open; pinned to a digest where it has one
  std::string directory;                      // where relative paths in `reference` start
  std::string platform;                       // "": this machine's
  std::string backend;                        // "auto", or a backend's name
  Bytes memory;                               // for blocks that were decompressed
  std::string metrics_address;                // "HOST:PORT" on loopback for Prometheus; "": none
  std::string record;                         // file for a trace of what is read of it; "": none
  bool record_exactly = false;                // of what lies around what is asked for, little; slower
  std::optional<WritableSpec> writable = {};  // none: read-only
  // For devices that survive their dadid, in seconds: see HostDeviceRequest.
  unsigned timeout = 30;
  unsigned successor_timeout = 120;
  Json reach = {};  // how dadid gets at an image that is far away, in its own words; no secrets. null: it is here
};

// What dadid has made of it: devices/ID/state.json, written when the device can be used.
struct DeviceState {
  int pid = 0;
  std::string started;  // RFC 3339
  std::string boot;     // the kernel's boot id: after a reboot nothing here is true any more
  std::string backend;
  std::string device;  // "/dev/loop3"
  Bytes size;
  std::string metrics_address;          // as bound
  unsigned generation = 0;              // how many programs have given way to the one that serves it now
  Json backend_state;                   // the backend's own: for a successor, and for who cleans up
  Json opening = {};                    // for people: what it cost to open an image that is far away. null: it is here
  std::vector<std::string> notes = {};  // for people: what was mended as it was opened
};

// attachments/NAME.json.
struct Attachment {
  std::string name;
  std::string device_id;
  std::string reference;    // as the user gave it, in full
  std::string mount;        // the mount point, absolute; "": none
  bool made_mount = false;  // the mount point was made for this
  bool named = false;       // by the user
  std::string attached;     // RFC 3339
};

Json to_json(const DeviceSpec& spec);
Json to_json(const DeviceState& state);
Json to_json(const Attachment& attachment);

// Errors: corruption (a field is missing or of the wrong type).
Result<DeviceSpec> device_spec_of(const Json& json);
Result<DeviceState> device_state_of(const Json& json);
Result<Attachment> attachment_of(const Json& json);

// An error that travels between processes: {"code", "message", "hint"}.
Json to_json(const Error& error);
Error error_of(const Json& json);

// The time now, in UTC, as RFC 3339 has it.
std::string time_now();
// The kernel's boot id, "" where it has none.
std::string boot_id();

}  // namespace dadi::attach
