// The ways in which a device becomes a block device of this host. Each is one entry of backends(); nothing else knows
// them apart.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "libformat/blob/block_reader.h"
#include "libformat/blob/block_writer.h"
#include "runtime/attach/records.h"

namespace dadi::attach {

// A block device of this host that this process answers for. Serves in threads of its own from when it is made.
class HostDevice {
 public:
  // Stops answering. A device that was not removed is then dead, or waits for a successor, as its backend can.
  virtual ~HostDevice() = default;

  // "/dev/loop3"
  virtual std::string path() const = 0;
  // What a successor must know, or who cleans up after this process. Without secrets; small.
  virtual Json state() const = 0;
  // Takes the device away from the host, once everything that was written to it is flushed. Errors: busy (it is mounted
  // or otherwise claimed); exhausted, io (what was written could not be flushed). After one it goes on serving.
  virtual Result<void> remove() = 0;
  // Takes it away as soon as nobody uses it any more, which may be at once; until then it goes on serving. `gone` is
  // called then, once, in any thread.
  virtual void remove_later(std::function<void()> gone) = 0;
  // Stops answering at a boundary between requests, for a successor that this process executes: its `previous`, with
  // the numbers of descriptors that it inherits, which create() closes if it succeeds. Errors: unsupported (the backend
  // cannot; nothing has changed).
  virtual Result<Json> pause() { return Error::unsupported("this backend cannot hand its device to another program"); }
  // Goes on after pause(): there was no successor.
  virtual void go_on() {}
};

struct HostDeviceRequest {
  std::shared_ptr<const BlockReader> device;
  std::shared_ptr<BlockWriter> writer = {};  // of the same device; null: read-only
  std::string label;                         // of letters, digits and ._-; the host's tools show it where they can
  Json previous;  // state() of the process before this one, whose device shall live on; null: a new device
  std::function<void(std::string_view)> log;  // told of what is not an error of a read. Any thread
  // Called once, in any thread, when somebody else has taken the device away. May be empty.
  std::function<void()> gone = {};
  // For a device that survives its process. How long a request may take before it is asked again, which is also how
  // long one waits that was with a process which died; and how long requests wait for a successor before they fail.
  std::chrono::seconds timeout{30};
  std::chrono::seconds successor_timeout{120};
};

struct Backend {
  std::string_view name;  // as in --backend
  // Whether a device outlives its process until another takes it over.
  bool survives;
  // Whether this host can: nothing, or host_lacks or denied, with a hint.
  Result<void> (*probe)();
  Result<std::unique_ptr<HostDevice>> (*create)(HostDeviceRequest request);
  // Has the requests fail that wait for a successor of a dead process of that state(). Null: none ever do.
  Result<void> (*give_up)(const Json& state);
  // Removes from the host what a dead process of that state() has left, if it is still its own. Idempotent.
  // Errors: busy.
  Result<void> (*clean_up)(const Json& state);
};

// In the order in which `auto` tries them.
std::span<const Backend> backends();

// Errors: invalid_argument (no such backend).
Result<const Backend*> find_backend(std::string_view name);

// The one of that name if this host can; for "auto" the first that it can.
// Errors: invalid_argument; host_lacks or denied, with what each would need.
Result<const Backend*> choose_backend(std::string_view name);

}  // namespace dadi::attach
