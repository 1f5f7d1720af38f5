#include "runtime/attach/attachments.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "libformat/base/bytes.h"
#include "libformat/base/digest.h"
#include "runtime/attach/backend.h"
#include "runtime/attach/control.h"
#include "runtime/attach/journal.h"
#include "runtime/attach/layer_claims.h"
#include "runtime/attach/repair.h"
#include "runtime/attach/spawn.h"
#include "runtime/attach/sweep.h"

namespace dadi::attach {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::minutes kToStart(10);  // an image may be far away
constexpr int kMostNames = 10000;
constexpr int kMostStarts = 5;  // of a device that others start at the same time, and fail

// A device that is being started: its folder, and what dadid will inherit.
struct Start {
  DeviceFolder device;
  FileLock lock;
  UniqueFd control;
};

// Which device an attachment will have.
struct Place {
  DeviceFolder device;
  bool alive;
};

std::string id_of(const DeviceSpec& spec, int number) {
  const std::string id = Digest::of(as_bytes(spec.image)).hex().substr(0, 16);
  return number == 1 ? id : fmt::format("{}-{}", id, number);
}

// Whether a living device can be shared: the same image, by a backend that suits, and not about to go, which one is
// that has no attachments.
bool suits(const StateFolder& folder, const DeviceFolder& device, const DeviceSpec& wanted) {
  if (folder.attachments_of(device.id()).empty()) return false;
  const auto spec = device.spec();
  if (!spec || spec->image != wanted.image) return false;
  if (!spec->record.empty() || !wanted.record.empty()) return false;  // a recording is of one attachment alone
  if (spec->writable || wanted.writable) return false;                // as is what was written
  if (wanted.backend == "auto" || wanted.backend == spec->backend) return true;
  const auto state = device.state();
  return state && state->backend == wanted.backend;
}

Result<Place> find_place(const StateFolder& folder, const DeviceSpec& spec) {
  for (int number = 1; number <= kMostNames; ++number) {
    DeviceFolder device = folder.device(id_of(spec, number));
    if (!device.exists()) return Place{std::move(device), false};
    DADI_TRY(const bool alive, device.alive());
    if (alive && suits(folder, device, spec)) return Place{std::move(device), true};
  }
  return Error::exhausted("too many devices of one image");
}

Result<std::string> free_name(const StateFolder& folder, const AttachRequest& request) {
  if (!request.name.empty()) {
    if (!is_name(request.name)) {
      return Error::invalid_argument("\"{}\" is no name: letters, digits and ._- it takes, at most 64", request.name);
    }
    if (!folder.attachment(request.name)) return request.name;
    return Error::busy("the name {} is taken", request.name)
        .with_hint("dadi detach {}, or another --name", request.name);
  }
  for (int number = 1; number <= kMostNames; ++number) {
    std::string name = number == 1 ? request.like_name : fmt::format("{}-{}", request.like_name, number);
    if (!folder.attachment(name)) return name;
  }
  return Error::exhausted("too many attachments are called {}", request.like_name);
}

Result<void> require_free_mount_point(const StateFolder& folder, const fs::path& point) {
  for (const Attachment& one : folder.attachments()) {
    if (!point.empty() && one.mount == point) {
      return Error::busy("{} is the mount point of {}", point.string(), one.name)
          .with_hint("dadi detach {}, or another folder", one.name);
    }
  }
  return {};
}

// An attachment whose dadid died, by its name.
Result<std::optional<Attachment>> find_dead(const StateFolder& folder, const std::string& name) {
  auto attachment = name.empty() ? Error::not_found("no name") : folder.attachment(name);
  if (!attachment) return std::optional<Attachment>();
  DADI_TRY(const bool alive, folder.device(attachment->device_id).alive());
  return alive ? std::optional<Attachment>() : std::optional(std::move(*attachment));
}

// Whether what a dead dadid left waits for a successor.
bool survives(const DeviceFolder& device) {
  const auto state = device.known_state();
  if (!state) return false;
  const auto backend = find_backend(state->backend);
  return backend && (*backend)->survives;
}

// Whether the device is mounted there: what is recorded may have been unmounted by hand, and the place reused.
bool is_mounted(const Attachment& attachment, dev_t device) {
  return std::ranges::count(mount_points_of(device), fs::path(attachment.mount)) > 0;
}

Result<void> unmount_attachment(const Attachment& attachment, const std::optional<DeviceState>& state, bool lazy) {
  if (attachment.mount.empty() || !state) return {};
  if (const auto device = device_number(state->device); device && is_mounted(attachment, *device)) {
    DADI_CHECK(unmount(attachment.mount, lazy));
  }
  if (attachment.made_mount) ::rmdir(attachment.mount.c_str());
  return {};
}

// The name of a device that did not survive is free again once what is left is cleaned up.
Result<void> bury(const StateFolder& folder, const Attachment& attachment) {
  const DeviceFolder device = folder.device(attachment.device_id);
  DADI_CHECK(unmount_attachment(attachment, device.known_state(), /*lazy=*/false));
  DADI_CHECK(folder.remove(attachment));
  if (!folder.attachments_of(device.id()).empty()) return {};
  return clean_up(device);
}

Result<Start> prepare_start(const DeviceFolder& device, const DeviceSpec& spec) {
  DADI_CHECK(device.write_spec(spec));
  DADI_TRY(auto lock, FileLock::try_take(device.lock_path()));
  if (!lock) return Error::busy("device {} is being started", device.id());
  DADI_TRY(UniqueFd control, listen_on(device.control_path()));
  return Start{device, std::move(*lock), std::move(control)};
}

// The end of its log.
std::string last_words(const DeviceFolder& device) {
  std::ifstream log(device.log_path());
  std::string last = "nothing";
  for (std::string line; std::getline(log, line);) last = line;
  return last;
}

// What dadid says when the device can be used, or why it cannot.
Result<DeviceState> read_verdict(int pipe, const DeviceFolder& device, const Patience& patience) {
  std::string line;
  while (line.find('\n') == std::string::npos) {
    DADI_CHECK(wait_for(pipe, POLLIN, patience));
    char buffer[4096];
    const ssize_t n = ::read(pipe, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error::io("dadid ended without a word").with_hint("its log ends: {}", last_words(device));
    line.append(buffer, static_cast<std::size_t>(n));
  }
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("error")) return error_of(json["error"]);
  return device_state_of(json);
}

Result<UniqueFd> spawn(const Start& start, const fs::path& dadid) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Error::from_errno(errno, "make a pipe");
  UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  DADI_CHECK(spawn_daemon(dadid, {"--started-by-attach", start.device.path().string()},
                          {start.lock.fd(), start.control.get(), theirs.get()}, start.device.log_path()));
  return ours;
}

// The attachment did not come to be.
void undo(const StateFolder& folder, const Attachment& attachment) {
  const auto lock = folder.lock();
  if (!lock) return;
  static_cast<void>(folder.remove(attachment).has_value());
  sweep(folder);
}

// One attempt to find or start the device of a new attachment.
class Attempt {
 public:
  Attempt(const StateFolder& folder, const AttachRequest& request)
      : folder_(folder), request_(request), spec_(request.spec) {}

  // Whether another's start was waited for and came to nothing, so that another attempt makes sense.
  bool lost() const { return lost_; }

  // When the attachment comes to nothing: what an earlier one wrote is not thrown away for that.
  void keep_layer() {
    const DeviceFolder device = folder_.device(attachment_.device_id);
    auto spec = device.spec();
    if ((!inherited_ && !resumed_) || !spec || !spec->writable || !spec->writable->temporary) return;
    spec->writable->temporary = false;
    if (device.write_spec(*spec))
      request_.note(fmt::format("the writable layer is left in {}", spec->writable->folder));
  }

  Result<Listing> run() {
    DADI_CHECK(reserve());
    auto state = start_ ? start() : join();
    if (!state) {
      start_.reset();
      if (!resumed_) {
        keep_layer();
        undo(folder_, attachment_);
      }
      return state.error();
    }
    const DeviceFolder device = folder_.device(attachment_.device_id);
    DADI_TRY(DeviceSpec spec, device.spec());
    return Listing{attachment_, Listing::State::kRunning, std::move(spec), std::move(*state),
                   device.control_path().string()};
  }

 private:
  Result<void> reserve() {
    DADI_TRY(const FileLock lock, folder_.lock());
    sweep(folder_);
    DADI_TRY(const auto dead, find_dead(folder_, request_.name));
    if (dead && survives(folder_.device(dead->device_id))) return resume(*dead);
    if (dead) DADI_CHECK(replace(*dead));
    DADI_CHECK(require_free_layer(folder_, spec_));
    DADI_CHECK(require_free_mount_point(folder_, request_.mount));
    DADI_TRY(std::string name, free_name(folder_, request_));
    DADI_TRY(const Place place, find_place(folder_, spec_));
    if (!place.alive) {
      DADI_TRY(start_, prepare_start(place.device, spec_));
    }
    attachment_ = {.name = std::move(name),
                   .device_id = place.device.id(),
                   .reference = request_.reference,
                   .mount = request_.mount.string(),
                   .made_mount = false,
                   .named = !request_.name.empty(),
                   .attached = time_now()};
    return folder_.write(attachment_);
  }

  // Its device waits for a dadid, and its users for their reads.
  Result<void> resume(const Attachment& dead) {
    const DeviceFolder device = folder_.device(dead.device_id);
    DADI_TRY(const DeviceSpec spec, device.spec());
    if (spec.image != request_.spec.image) {
      return Error::busy("{} is the name of another image, whose dadid died", dead.name)
          .with_hint("dadi detach {}, or another --name", dead.name);
    }
    DADI_CHECK(require_same_layer(dead, spec, spec_));
    if (spec_.writable && spec_.writable->journal && !spec.writable->journal) {
      return Error::busy("{} was attached without --journal, and its dadid died", dead.name)
          .with_hint("attach it without, or give up on it: dadi detach {}", dead.name);
    }
    attachment_ = dead;
    resumed_ = true;
    DADI_TRY(start_, prepare_start(device, spec));
    return {};
  }

  // Its device is gone with its dadid. A temporary layer goes on in the new device: it may be all there is of a day's
  // work.
  Result<void> replace(const Attachment& dead) {
    const DeviceFolder device = folder_.device(dead.device_id);
    auto before = device.spec();
    if (before && before->writable && before->writable->temporary) {
      if (before->image != spec_.image)
        return Error::busy("{} has a temporary writable layer on another image, {}, and its dadid died", dead.name,
                           before->reference)
            .with_hint("attach that image, or give up on it: dadi detach {}", dead.name);
      DADI_CHECK(require_same_layer(dead, *before, spec_));
      DADI_CHECK(unmount_attachment(dead, device.known_state(), /*lazy=*/false));
      spec_.writable->folder = before->writable->folder;
      inherited_ = true;
      before->writable->temporary = false;
      DADI_CHECK(device.write_spec(*before));
    }
    return bury(folder_, dead);
  }

  Result<DeviceState> start() {
    DADI_TRY(const UniqueFd ready, spawn(*start_, request_.dadid));
    start_.reset();  // dadid has them now
    return read_verdict(ready.get(), folder_.device(attachment_.device_id), Patience::of(kToStart, request_.stop));
  }

  Result<DeviceState> join() {
    const DeviceFolder device = folder_.device(attachment_.device_id);
    const auto answer = ask(device.control_path(), {{"request", "status"}}, Patience::of(kToStart, request_.stop));
    lost_ = !answer && answer.error().code() != ErrorCode::kCancelled;
    if (!answer) return answer.error();
    return device_state_of(*answer);
  }

  const StateFolder& folder_;
  const AttachRequest& request_;
  DeviceSpec spec_;  // that is wanted
  std::optional<Start> start_;
  Attachment attachment_;
  bool resumed_ = false;
  bool inherited_ = false;  // a writable layer, from a device that it takes the place of
  bool lost_ = false;
};

// Records that the mount point was made, unless the attachment was detached meanwhile.
Result<void> record_made_mount(const StateFolder& folder, Attachment& attachment) {
  DADI_TRY(const FileLock lock, folder.lock());
  if (!folder.attachment(attachment.name)) return Error::not_found("{} was detached meanwhile", attachment.name);
  attachment.made_mount = true;
  return folder.write(attachment);
}

Result<void> make_mount_point(const StateFolder& folder, Attachment& attachment) {
  const std::string& point = attachment.mount;
  if (::mkdir(point.c_str(), 0755) == 0) {
    DADI_CHECK(record_made_mount(folder, attachment));
  } else if (errno != EEXIST) {
    return Error::from_errno(errno, "make " + point);
  }
  struct stat info {};
  if (::stat(point.c_str(), &info) != 0) return Error::from_errno(errno, point);
  if (!S_ISDIR(info.st_mode)) return Error::invalid_argument("{} is not a folder to mount on", point);
  return {};
}

// What has just been attached gets what its file system needs, and is mounted. The mount point was recorded before, so
// that a detach finds it.
Result<void> make_ready(const StateFolder& folder, Listing& listing, const AttachRequest& request) {
  const std::string& device = listing.device->device;
  const std::string& point = listing.attachment.mount;
  const auto number = device_number(device);
  if (number && !point.empty() && is_mounted(listing.attachment, *number)) return {};  // it outlived a dadid
  if (!point.empty()) {
    DADI_CHECK(make_mount_point(folder, listing.attachment));
    if (request.mount_options.writable) DADI_CHECK(repair_unclean(device, request.note));
  }
  const auto& writable = listing.spec->writable;
  if (writable && writable->journal) DADI_CHECK(put_journal(device, writable->limit, request.note));
  return point.empty() ? Result<void>() : mount_device(device, point, request.mount_options).context("{}", point);
}

// Which attachment is meant. Of several that share a device, named by the device, it is one that nobody named or
// mounted.
Result<Attachment> find_target(const StateFolder& folder, const std::string& target) {
  if (is_name(target)) {
    if (auto attachment = folder.attachment(target)) return attachment;
  }
  std::error_code ignored;
  const fs::path path = fs::weakly_canonical(target, ignored);
  std::vector<Attachment> on_device;
  for (Attachment& attachment : folder.attachments()) {
    if (!attachment.mount.empty() && (attachment.mount == path || attachment.mount == target)) return attachment;
    const auto state = folder.device(attachment.device_id).state();
    if (state && (state->device == target || state->device == path)) on_device.push_back(std::move(attachment));
  }
  if (on_device.empty()) {
    return Error::not_found("nothing is attached as {}", target).with_hint("dadi ps lists what is attached");
  }
  if (on_device.size() == 1) return on_device.front();
  const auto anonymous =
      std::ranges::find_if(on_device, [](const Attachment& one) { return !one.named && one.mount.empty(); });
  if (anonymous != on_device.end()) return *anonymous;
  std::vector<std::string> names;
  for (const Attachment& one : on_device) names.push_back(one.name);
  return Error::busy("{} is shared by {}", target, fmt::join(names, ", ")).with_hint("detach them by their names");
}

// Nobody but this attachment's own mount, which is gone, may use the device.
Result<void> require_unused(const DeviceState& state) {
  const auto device = device_number(state.device);
  if (!device) return {};
  const std::vector<std::string> users = users_of(*device, state.pid);
  if (users.empty()) return {};
  return Error::busy("{} is in use: {}", state.device, fmt::join(users, ", "))
      .with_hint("end what uses it, or detach it with --lazy");
}

// What is in memory still of what was written is with the layer, and flushed there; or who detaches knows better. This
// may take its time, which a dadid that is told to stop is not given.
Result<void> write_back(const Attachment& attachment, const DeviceState& state) {
  const auto written = [&]() -> Result<void> {
    const auto device = device_number(state.device);
    if (device && !attachment.mount.empty() && is_mounted(attachment, *device))
      DADI_CHECK(sync_mount(attachment.mount));
    return sync_device(state.device);
  }();
  if (written) return {};
  return Error(written.error()).with_hint("make room; or detach it with --lazy, and what is not written is lost");
}

Listing listing_of(const StateFolder& folder, Attachment attachment) {
  const DeviceFolder device = folder.device(attachment.device_id);
  Listing listing;
  listing.attachment = std::move(attachment);
  listing.control_socket = device.control_path().string();
  if (auto spec = device.spec()) listing.spec = std::move(*spec);
  listing.device = device.known_state();
  const auto alive = device.alive();
  if (alive && *alive) listing.state = listing.device ? Listing::State::kRunning : Listing::State::kStarting;
  return listing;
}

}  // namespace

std::string_view name_of(Listing::State state) {
  switch (state) {
    case Listing::State::kStarting:
      return "starting";
    case Listing::State::kRunning:
      return "running";
    case Listing::State::kDead:
      break;
  }
  return "dead";
}

Result<Listing> attach(const StateFolder& folder, const AttachRequest& request) {
  for (int attempt = 1;; ++attempt) {
    Attempt one(folder, request);
    auto listing = one.run();
    if (!listing && one.lost() && attempt < kMostStarts) continue;
    if (!listing) return listing;
    if (auto ready = make_ready(folder, *listing, request); !ready) {
      one.keep_layer();
      static_cast<void>(detach(folder, {.target = listing->attachment.name, .lazy = false, .stop = {}}).has_value());
      return ready.error();
    }
    return listing;
  }
}

Result<Attachment> detach(const StateFolder& folder, const DetachRequest& request) {
  DADI_TRY(const FileLock lock, folder.lock());
  sweep(folder);
  DADI_TRY(const Attachment attachment, find_target(folder, request.target));
  const DeviceFolder device = folder.device(attachment.device_id);
  const std::optional<DeviceState> state = device.known_state();
  DADI_TRY(const bool alive, device.alive());
  const auto spec = device.spec();
  const bool written = spec && spec->writable;
  if (written && !alive) DADI_CHECK(give_up(device));  // an unmount would wait for a successor
  const bool written_back = written && alive && state && !request.lazy;
  if (written_back) DADI_CHECK(write_back(attachment, *state));
  DADI_CHECK(unmount_attachment(attachment, state, request.lazy));
  if (written_back) DADI_CHECK(write_back(attachment, *state));  // what unmounting wrote
  if (folder.attachments_of(device.id()).size() == 1) {
    // The number of a dead device may be another's by now.
    if (alive && state && !request.lazy) DADI_CHECK(require_unused(*state));
    DADI_CHECK(alive ? end_device(device, request.lazy) : clean_up(device));
  }
  DADI_CHECK(folder.remove(attachment));
  return attachment;
}

Result<std::vector<Listing>> list(const StateFolder& folder) {
  DADI_TRY(const FileLock lock, folder.lock());
  sweep(folder);
  std::vector<Listing> listings;
  for (Attachment& attachment : folder.attachments()) listings.push_back(listing_of(folder, std::move(attachment)));
  return listings;
}

}  // namespace dadi::attach
