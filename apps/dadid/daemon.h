// The life of one dadid: opens an image, makes it a device of this host, and answers for it until it is told to stop.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "apps/dadid/handover.h"
#include "apps/dadid/log.h"
#include "apps/image/image_place.h"
#include "apps/image/lazy_blobs.h"
#include "apps/image/trace_origin.h"
#include "apps/image/writable_upper.h"
#include "libformat/base/result.h"
#include "runtime/attach/backend.h"
#include "runtime/attach/file_lock.h"
#include "runtime/attach/line_server.h"
#include "runtime/attach/state_folder.h"
#include "runtime/attach/write_ledger.h"
#include "runtime/device/image_device.h"
#include "runtime/device/replay.h"
#include "runtime/worker_pool.h"

namespace dadi {

// One for the process. One thread.
class Daemon {
 public:
  // Borrows the log. `lock` is held; `control` listens.
  Daemon(attach::DeviceFolder folder, attach::FileLock lock, UniqueFd control, Log& log);

  // The device can be used once this returns; its state is written.
  // Errors: those of opening the image and of the backend.
  Result<attach::DeviceState> start();
  // The same, in place of the program that has given way to this one. Borrows it for that long.
  Result<attach::DeviceState> resume(const Handover& handover);

  // Serves until it is told to stop, or until a signal says so. Does not return when another program takes its place.
  Result<void> run();

 private:
  Result<void> open_image(const attach::DeviceSpec& spec);
  Result<void> open_layer(const attach::WritableSpec& spec);
  std::shared_ptr<const BlockReader> served() const;
  Result<void> make_writer();
  Result<void> create_device(const attach::DeviceSpec& spec);
  void read_ahead();
  Result<void> remove_device();
  Result<std::string> serve_metrics(const attach::DeviceSpec& spec);
  std::string answer(std::string_view line);
  Result<attach::Json> answer(const attach::Json& request);
  attach::Json stats() const;
  void write_recording();
  Result<void> flush();
  Result<attach::Json> stop(bool lazy);
  Result<attach::Json> changes() const;
  Result<attach::Json> go_on_in(const attach::Json& request);
  Result<attach::Json> put_on_image(const attach::Json& request);
  Result<attach::Json> upgrade(const attach::Json& request);
  void give_way(const std::filesystem::path& program);

  attach::DeviceFolder folder_;
  attach::FileLock lock_;
  Log& log_;
  runtime::WorkerPool computing_;
  runtime::WorkerPool waiting_;
  UniqueFd wake_;                    // an eventfd: the end, from a signal or because the device is gone
  std::shared_ptr<LazyBlobs> lazy_;  // of an image on a registry
  std::shared_ptr<runtime::ImageDevice> device_;
  ImagePlace place_;                             // where it is found again
  std::optional<WritableUpper> upper_;           // on top of it, if it is written to
  std::shared_ptr<BlockWriter> writer_;          // of that
  std::unique_ptr<runtime::Replay> replay_;      // of an image that carries a trace
  std::optional<Bytes> read_ahead_;              // as it was set last
  std::shared_ptr<runtime::Recorder> recorder_;  // of what becomes a trace
  std::string record_;                           // where
  bool record_exactly_ = false;
  std::optional<TraceOrigin> origin_;  // of which image
  attach::DeviceState state_;
  const attach::Backend* backend_ = nullptr;
  std::unique_ptr<attach::HostDevice> host_device_;
  attach::LineServer server_;
  Bytes memory_;
  int control_;             // the control socket, which the server owns
  attach::Json inherited_;  // the backend's state, from the program before
  unsigned generation_ = 0;
  std::optional<Error> failed_upgrade_;  // the last, if it failed
  std::filesystem::path upgrade_to_;
  bool removed_ = false;
  bool leaving_ = false;  // lazily
};

}  // namespace dadi
