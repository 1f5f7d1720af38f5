#include "apps/dadid/daemon.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>
#include <tuple>
#include <utility>

#include "apps/dadid/observed_writer.h"
#include "apps/dadid/served_image.h"
#include "apps/image/image_device.h"
#include "runtime/attach/control.h"
#include "runtime/attach/loopback.h"
#include "runtime/attach/metrics.h"
#include "runtime/attach/read_ahead.h"

namespace dadi {
namespace {

using attach::Json;

constexpr std::chrono::seconds kPeriod(5);  // of giving memory back, and of flushing what nobody has asked to
constexpr std::size_t kMostWaiting = 64;    // threads that may sleep on a disk or a network

int signal_wake = -1;  // where a signal is told: handlers have no other way

void wake_on(int fd) {
  const std::uint64_t one = 1;
  static_cast<void>(::write(fd, &one, sizeof one) == sizeof one);
}

void on_signal(int) {
  const int saved = errno;
  wake_on(signal_wake);
  errno = saved;
}

// Until here a signal ends the process as it ends any: nothing is left that does not go by itself.
void catch_signals(int wake) {
  signal_wake = wake;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaction(number, &action, nullptr);
}

std::string text_in(const Json& request, const char* name) {
  if (!request.is_object()) return "";
  const auto found = request.find(name);
  return found != request.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

Daemon::Daemon(attach::DeviceFolder folder, attach::FileLock lock, UniqueFd control, Log& log)
    : folder_(std::move(folder)),
      lock_(std::move(lock)),
      log_(log),
      computing_("dadid-compute", std::max(1U, std::thread::hardware_concurrency())),
      waiting_("dadid-wait", kMostWaiting),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      control_(control.get()) {
  server_.listen(std::move(control), attach::line_handler([this](std::string_view line) { return answer(line); }));
}

Result<attach::DeviceState> Daemon::start() {
  if (!wake_) return Error::from_errno(errno, "make an eventfd");
  std::signal(SIGPIPE, SIG_IGN);
  DADI_CHECK(lock_.sign());
  DADI_TRY(const attach::DeviceSpec spec, folder_.spec());
  DADI_CHECK(open_image(spec));
  if (spec.writable) DADI_CHECK(open_layer(*spec.writable));
  DADI_CHECK(create_device(spec));
  DADI_TRY(const std::string metrics_address, serve_metrics(spec));
  state_ = {.pid = ::getpid(),
            .started = attach::time_now(),
            .boot = attach::boot_id(),
            .backend = std::string(backend_->name),
            .device = host_device_->path(),
            .size = to_bytes(served()->size()),
            .metrics_address = metrics_address,
            .generation = generation_,
            .backend_state = host_device_->state(),
            .opening = lazy_ ? Json(lazy_->opening()) : Json(),
            .notes = std::move(state_.notes)};
  catch_signals(wake_.get());
  DADI_CHECK(folder_.write_state(state_));
  log_.info(fmt::format("{} is {}", state_.device, spec.reference));
  if (lazy_) {
    log_.info(lazy_->opening());
    lazy_->download([this](std::string_view text) { log_.info(text); });
  }
  return state_;
}

Result<void> Daemon::open_image(const attach::DeviceSpec& spec) {
  if (::chdir(spec.directory.c_str()) != 0) return Error::from_errno(errno, spec.directory);
  DADI_TRY(const ImagePlace place, served_image(folder_, spec));
  runtime::DeviceOptions options;
  options.memory = memory_ = spec.memory;
  options.computing = &computing_;
  options.waiting = &waiting_;
  record_ = spec.record;
  record_exactly_ = spec.record_exactly;
  if (!record_.empty()) options.recorder = recorder_ = std::make_shared<runtime::Recorder>();
  options.on_error = [this](const Error& error) { log_.frequent_error(error.message()); };
  const auto note = [this](std::string_view text) { log_.info(text); };
  DADI_TRY(OpenImage image,
           open_image_device(place.reference, place.platform, place.reach, std::move(options), {}, note));
  device_ = std::move(image.device);
  lazy_ = std::move(image.lazy);
  replay_ = std::move(image.replay);
  place_ = std::move(image.place);
  origin_ = std::move(image.origin);
  if (::chdir("/") != 0) return Error::from_errno(errno, "/");
  return {};
}

Result<void> Daemon::open_layer(const attach::WritableSpec& spec) {
  const UpperOptions options{
      .folder = spec.folder,
      .form = spec.form == "sparse" ? lsmt::WritableForm::kSparse : lsmt::WritableForm::kAppendOnly,
      .limit = spec.limit,
      .image = place_,
      .make = !folder_.state().has_value()};  // a successor's was made, and is what its users believe in
  DADI_TRY(WritableUpper upper, WritableUpper::open(options, device_, [this](std::string_view text) {
             log_.info(text);
             state_.notes.emplace_back(text);
           }));
  upper_.emplace(std::move(upper));
  return {};
}

std::shared_ptr<const BlockReader> Daemon::served() const {
  if (upper_) return upper_->layers();
  return device_;
}

// For a device that was there before, whose dadid died: only if nothing is missing that its users believe they wrote.
Result<void> Daemon::make_writer() {
  writer_ = std::make_shared<ObservedWriter>(
      upper_->layers(), [&log = log_](const Error& error) { log.frequent_error(error.message()); });
  if (!backend_->survives) return {};
  DADI_TRY(auto ledger, attach::WriteLedger::open(folder_.writes_path(), writer_));
  const bool orphaned = folder_.state().has_value() && inherited_.is_null();
  if (orphaned && !ledger->settled()) {
    return Error::unsupported("what was written and not flushed was lost with the device's dadid, so it cannot go on")
        .with_hint("detach it, and attach it again: its file system is repaired then");
  }
  ledger->settle();
  writer_ = std::move(ledger);
  return {};
}

Result<void> Daemon::create_device(const attach::DeviceSpec& spec) {
  Json previous;
  if (const auto state = folder_.state()) {
    previous = inherited_.is_null() ? state->backend_state : inherited_;
    DADI_TRY(backend_, attach::find_backend(state->backend));
  } else {
    DADI_TRY(backend_, attach::choose_backend(spec.backend));
  }
  const auto log = [this](std::string_view text) { log_.warning(text); };
  if (upper_) DADI_CHECK(make_writer());
  DADI_TRY(host_device_, backend_->create({.device = served(),
                                           .writer = writer_,
                                           .label = "dadi-" + folder_.id(),
                                           .previous = std::move(previous),
                                           .log = log,
                                           .gone = [wake = wake_.get()] { wake_on(wake); },
                                           .timeout = std::chrono::seconds(spec.timeout),
                                           .successor_timeout = std::chrono::seconds(spec.successor_timeout)}));
  read_ahead();
  return {};
}

// Whoever has a device of this name next finds it as kernels make it; unless this process is killed.
Result<void> Daemon::remove_device() {
  DADI_CHECK(host_device_->remove());
  attach::set_read_ahead(host_device_->path(), attach::kKernelsReadAhead);
  return {};
}

// Sets it when it changes: others may have an opinion, too.
void Daemon::read_ahead() {
  if (leaving_) return;
  const bool known = record_exactly_ || (replay_ && replay_->start_goes_on(std::chrono::steady_clock::now()));
  const Bytes wanted = known ? attach::kLittleReadAhead : lazy_ ? attach::kFarReadAhead : attach::kReadAhead;
  if (read_ahead_ == wanted) return;
  read_ahead_ = wanted;
  attach::set_read_ahead(host_device_->path(), wanted);
}

// On a socket of its own, and on loopback when asked for. Returns where, on loopback.
Result<std::string> Daemon::serve_metrics(const attach::DeviceSpec& spec) {
  const auto page = [this, reference = spec.reference] {
    const attach::NamedStats one{{{"device", state_.device}, {"reference", reference}}, stats()};
    return attach::prometheus_text({&one, 1});
  };
  DADI_TRY(UniqueFd socket, attach::listen_on(folder_.metrics_path()));
  server_.listen(std::move(socket), attach::http_handler(page));
  if (spec.metrics_address.empty()) return std::string();
  DADI_TRY(attach::LoopbackSocket loopback, attach::listen_on_loopback(spec.metrics_address));
  server_.listen(std::move(loopback.socket), attach::http_handler(page));
  return std::move(loopback.address);
}

Result<attach::DeviceState> Daemon::resume(const Handover& handover) {
  inherited_ = handover.backend_state;
  generation_ = handover.generation;
  failed_upgrade_ = handover.failed;
  return start();
}

Result<void> Daemon::run() {
  server_.every(kPeriod, [this] {
    device_->trim(std::chrono::steady_clock::now());
    read_ahead();
    if (writer_) waiting_.submit([writer = writer_] { std::ignore = writer->flush().has_value(); });  // it logs
  });
  DADI_CHECK(server_.run(wake_.get()));
  while (!upgrade_to_.empty()) {
    give_way(std::exchange(upgrade_to_, {}));
    DADI_CHECK(server_.run(wake_.get()));
  }
  if (leaving_) {
    write_recording();
    host_device_.reset();
    DADI_CHECK(flush());
    return folder_.remove();
  }
  if (removed_) return {};
  log_.info("told to stop");
  write_recording();
  if (auto removed = remove_device(); !removed) log_.warning(removed.error().message());
  host_device_.reset();
  return flush();
}

std::string Daemon::answer(std::string_view line) {
  const Json request = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  const auto reply = answer(request);
  const Json json = reply ? *reply : Json{{"error", attach::to_json(reply.error())}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Json> Daemon::answer(const Json& request) {
  const std::string kind = text_in(request, "request");
  if (kind == "status") {
    Json status = attach::to_json(state_);
    if (failed_upgrade_) status["failed_upgrade"] = attach::to_json(*failed_upgrade_);
    return status;
  }
  if (kind == "upgrade") return upgrade(request);
  if (kind == "stats") return stats();
  if (kind == "stop") {
    const auto lazy = request.find("lazy");
    return stop(lazy != request.end() && lazy->is_boolean() && lazy->get<bool>());
  }
  if (kind == "changes") return changes();
  if (kind == "go_on_in") return go_on_in(request);
  if (kind == "put_on_image") return put_on_image(request);
  return Error::invalid_argument("no such request");
}

// Once nothing more is read.
void Daemon::write_recording() {
  if (!recorder_) return;
  const auto written = dadi::write_recording(*recorder_, record_, origin_);
  if (!written) log_.error(fmt::format("the recording is lost: {}", written.error().message()));
  recorder_.reset();
}

Result<void> Daemon::flush() {
  return writer_ ? writer_->flush() : Result<void>();
}

Json Daemon::stats() const {
  Json json = attach::stats_json(device_->stats(), memory_);
  if (lazy_) json["registry"] = lazy_->stats();
  if (const auto replayed = replay_ ? replay_->stats() : std::nullopt) json["replay"] = to_json(*replayed);
  if (upper_) {
    const auto usage = upper_->layers()->usage();
    json["writable"] = {{"data", usage.data.value}, {"garbage", usage.garbage.value}, {"segments", usage.segments}};
  }
  return json;
}

Result<Json> Daemon::stop(bool lazy) {
  if (leaving_) return Json{{"later", true}};
  auto removed = remove_device();
  if (removed) {
    write_recording();
    std::ignore = flush().has_value();  // removing it has, already
    removed_ = true;
    server_.stop();
    return Json::object();
  }
  if (!lazy) return removed.error();
  leaving_ = true;
  log_.info("waits for the last who uses the device");
  attach::set_read_ahead(host_device_->path(), attach::kKernelsReadAhead);
  host_device_->remove_later([wake = wake_.get()] { wake_on(wake); });
  return Json{{"later", true}};
}

Result<Json> Daemon::changes() const {
  if (!upper_) return Error::invalid_argument("nothing is written to it");
  const lsmt::WritableStack& layers = *upper_->layers();
  return Json{{"changes", layers.changes()}, {"sparse", layers.form() == lsmt::WritableForm::kSparse}};
}

Result<Json> Daemon::go_on_in(const Json& request) {
  if (!upper_) return Error::invalid_argument("nothing is written to it");
  const std::string layer = text_in(request, "layer");
  const auto changes = request.find("changes");
  if (changes == request.end() || !changes->is_number_unsigned())
    return Error::invalid_argument("after which changes?");
  DADI_CHECK(upper_->go_on_in(layer, changes->get<std::uint64_t>()));
  log_.info(fmt::format("goes on in {}", layer));
  return Json::object();
}

Result<Json> Daemon::put_on_image(const Json& request) {
  if (!upper_) return Error::invalid_argument("nothing is written to it");
  const auto place = request.find("image");
  if (place == request.end()) return Error::invalid_argument("on which image?");
  DADI_TRY(const ImagePlace image, image_place_of(*place));
  DADI_CHECK(upper_->put_on_image(text_in(request, "layer"), image));
  log_.info(fmt::format("what was written before is in {}", image.reference.to_string()));
  return Json::object();
}

Result<Json> Daemon::upgrade(const Json& request) {
  const auto program = request.find("program");
  if (program == request.end() || !program->is_string() || !program->get<std::string>().starts_with('/')) {
    return Error::invalid_argument("which program?");
  }
  if (leaving_) return Error::busy("the device is going away");
  if (recorder_) return Error::busy("what is read is being recorded");
  failed_upgrade_.reset();
  upgrade_to_ = program->get<std::string>();
  server_.stop();
  return Json{{"generation", generation_ + 1}};
}

// Returns only if there is no successor: then this goes on.
void Daemon::give_way(const std::filesystem::path& program) {
  auto state = host_device_->pause();
  if (!state) {
    failed_upgrade_ = state.error();
    return;
  }
  if (auto flushed = flush(); !flushed) {
    failed_upgrade_ = std::move(flushed.error());
    return host_device_->go_on();
  }
  log_.info(fmt::format("gives way to {}", program.string()));
  const Handover handover{.lock = UniqueFd(::fcntl(lock_.fd(), F_DUPFD_CLOEXEC, 0)),
                          .control = UniqueFd(::fcntl(control_, F_DUPFD_CLOEXEC, 0)),
                          .program = UniqueFd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)),
                          .generation = generation_ + 1,
                          .failed = {},
                          .backend_state = std::move(*state)};
  failed_upgrade_ = execute(program, folder_.path(), handover);
  host_device_->go_on();
  log_.warning(failed_upgrade_->message());
}

}  // namespace dadi
