// dadi serve REF
#include <fmt/core.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>

#include "apps/dadi/block_image.h"
#include "apps/dadi/child_command.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/new_file.h"
#include "apps/dadi/serve_sockets.h"
#include "apps/dadi/service_manager.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/trace_file.h"
#include "apps/image/image_device.h"
#include "apps/image/writable_upper.h"
#include "runtime/nbd/server.h"

namespace dadi {
namespace {

struct ServeOptions {
  ImageOptions image;
  ListenOptions listen;
  nbd::TlsFiles tls;
  std::string run;
  bool exit_with_parent = false;
  std::string memory = "32M";
  std::string record;
  std::string writable;  // empty: read-only
  std::string writable_size;
  std::string writable_form = "append";
  unsigned clients = static_cast<unsigned>(nbd::Limits{}.connections);
};

constexpr auto kTemporary = "temporary";  // --writable without a folder
constexpr std::size_t kWaitingThreads = 64;
constexpr auto kTrim = std::chrono::seconds(5);  // how often a device is asked to let go of what it does not use

// What goes wrong while clients are served, for people: a client can cause much of it, so only so much is said.
class TroubleNotes {
 public:
  explicit TroubleNotes(Session& session) : session_(session) {}

  void tell(const Error& error) {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now - since_ > kPeriod) {
      if (said_ > kMost) session_.note(fmt::format("{} more like it were left out", said_ - kMost));
      since_ = now;
      said_ = 0;
    }
    if (++said_ <= kMost) session_.note(error.message());
  }

 private:
  static constexpr std::chrono::minutes kPeriod{1};
  static constexpr unsigned kMost = 30;  // in a period

  Session& session_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point since_{};
  unsigned said_ = 0;
};

Result<void> check_options(const ServeOptions& options, bool inherited) {
  const ListenOptions& listen = options.listen;
  const bool tls = !options.tls.certificate.empty() || !options.tls.key.empty() || !options.tls.authority.empty();
  if (inherited && (!listen.socket.empty() || !listen.port.empty()))
    return Error::invalid_argument("--socket and --port are the service manager's, which listens already");
  if (!listen.socket.empty() && !listen.port.empty())
    return Error::invalid_argument("either --socket or --port, not both");
  if (!listen.bind.empty() && listen.port.empty() && !inherited)
    return Error::invalid_argument("--bind is for TCP: give a --port too");
  if (tls && listen.port.empty() && !inherited) return Error::invalid_argument("TLS is for TCP: give a --port too");
  if (tls && (options.tls.certificate.empty() || options.tls.key.empty()))
    return Error::invalid_argument("TLS takes a certificate and its key: --tls-cert FILE --tls-key FILE");
  if (!options.writable_size.empty() && options.writable.empty())
    return Error::invalid_argument("--writable-size is for --writable");
  if (listen.export_name.size() > nbd::kMaxString)
    return Error::invalid_argument("an export's name has at most {} bytes", nbd::kMaxString);
  return {};
}

Result<std::vector<ListeningPlace>> open_places(ListenOptions options, std::vector<UniqueFd> inherited, bool tls) {
  options.tls = tls;
  std::vector<ListeningPlace> places;
  for (UniqueFd& socket : inherited) places.push_back(ListeningPlace::of(std::move(socket), options));
  if (places.empty()) {
    DADI_TRY(auto place, ListeningPlace::open(options));
    places.push_back(std::move(place));
  }
  return places;
}

// Failed reads are told by the server, which names the client too.
Result<OpenImage> open_image(Session& session, const ServeOptions& options,
                             const std::shared_ptr<runtime::Recorder>& recorder) {
  runtime::DeviceOptions device_options;
  DADI_TRY(device_options.memory, parse_size(options.memory));
  device_options.recorder = recorder;
  DADI_TRY(const oci::Reference reference, parse_image_reference(session, options.image.reference));
  DADI_TRY(const ImageReach reach, image_reach(session, options.image));
  const auto note = [&session](std::string_view text) { session.note(text); };
  DADI_TRY(OpenImage image, open_image_device(reference, options.image.platform, reach, std::move(device_options),
                                              session.read_context(), note));
  if (image.lazy) {
    session.detail(image.lazy->opening());
    image.lazy->download(note);
  }
  return image;
}

Result<WritableUpper> open_upper(Session& session, const ServeOptions& options, const OpenImage& image) {
  UpperOptions upper;
  if (options.writable != kTemporary) upper.folder = options.writable;
  upper.image = image.place;
  if (options.writable_form == "sparse") upper.form = lsmt::WritableForm::kSparse;
  if (!options.writable_size.empty()) {
    DADI_TRY(upper.limit, parse_size(options.writable_size));
  }
  return WritableUpper::open(upper, image.device, [&session](std::string_view text) { session.note(text); });
}

Json describe(const std::vector<ListeningPlace>& places, const nbd::Export& served) {
  const ListeningPlace& first = places.front();
  Json answer = {{"uri", first.uri()}};
  if (!first.path().empty()) answer["socket"] = first.path();
  if (first.port() != 0) answer["port"] = first.port();
  answer["export"] = served.name;
  answer["size"] = to_bytes(served.device->size()).value;
  answer["pid"] = ::getpid();
  return answer;
}

void say_where(Session& session, const std::vector<ListeningPlace>& places, const nbd::Export& served) {
  if (session.options.json) return session.answer(describe(places, served));
  for (const ListeningPlace& place : places) session.out().print("{}\n", place.uri());
}

// Until dadi is asked to stop, or `child` or `parent`, where there is one, has ended.
Result<void> wait_for_end(const std::stop_token& stop, runtime::ImageDevice& device, int child, int parent) {
  const UniqueFd stopped(::eventfd(0, EFD_CLOEXEC));
  if (!stopped) return Error::from_errno(errno, "eventfd");
  const std::stop_callback wake(stop, [&] { ::eventfd_write(stopped.get(), 1); });
  std::array<pollfd, 3> fds = {{{stopped.get(), POLLIN, 0}, {child, POLLIN, 0}, {parent, POLLIN, 0}}};
  constexpr std::chrono::milliseconds kTimeout = kTrim;
  while (::poll(fds.data(), fds.size(), static_cast<int>(kTimeout.count())) <= 0) {
    device.trim(std::chrono::steady_clock::now());
  }
  return {};
}

// Runs the user's command beside the server, and ends as it does.
Result<void> run_command(Session& session, const ServeOptions& options, const ListeningPlace& place,
                         runtime::ImageDevice& device, int parent) {
  DADI_TRY(auto child,
           ChildCommand::start(options.run, {{"uri", place.uri()},
                                             {"socket", place.path()},
                                             {"port", place.port() != 0 ? std::to_string(place.port()) : ""},
                                             {"exportname", options.listen.export_name}}));
  DADI_CHECK(wait_for_end(session.stop(), device, child.fd(), parent));
  pollfd ended{child.fd(), POLLIN, 0};
  if (::poll(&ended, 1, 0) == 0) child.terminate();
  session.end_as(child.wait());
  return {};
}

Result<void> serve(Session& session, const ServeOptions& options) {
  std::vector<UniqueFd> inherited = inherited_sockets();
  DADI_CHECK(check_options(options, !inherited.empty()));
  UniqueFd parent;
  if (options.exit_with_parent) {
    DADI_TRY(parent, parent_process());
  }
  nbd::ServerOptions server_options;
  if (!options.tls.certificate.empty()) {
    DADI_TRY(server_options.tls, nbd::TlsContext::load(options.tls));
  }
  TroubleNotes trouble(session);
  server_options.observer = [&](const Error& error) { trouble.tell(error); };
  server_options.limits.connections = options.clients;

  std::shared_ptr<runtime::Recorder> recorder;
  if (!options.record.empty()) {
    DADI_CHECK(check_recordable(options.record));
    recorder = std::make_shared<runtime::Recorder>();
  }
  DADI_TRY(const OpenImage image, open_image(session, options, recorder));
  nbd::Export served{.name = options.listen.export_name,
                     .description = options.image.reference.substr(0, nbd::kMaxString),
                     .device = image.device,
                     .writer = {}};
  std::optional<WritableUpper> upper;
  if (!options.writable.empty()) {
    DADI_TRY(auto opened, open_upper(session, options, image));
    upper.emplace(std::move(opened));
    served.device = upper->layers();
    served.writer = upper->layers();
  }
  runtime::WorkerPool waiting("nbd-wait", kWaitingThreads);
  runtime::WorkerPool computing("nbd-compute", std::max(1U, std::thread::hardware_concurrency()));
  DADI_TRY(auto places, open_places(options.listen, std::move(inherited), server_options.tls != nullptr));
  std::vector<UniqueFd> sockets;
  for (ListeningPlace& place : places) sockets.push_back(place.take_socket());
  DADI_TRY(const auto server,
           nbd::Server::start({served}, std::move(sockets), {computing, waiting}, std::move(server_options)));
  notify_manager("READY=1\n");
  Result<void> result;
  if (options.run.empty()) {
    say_where(session, places, served);
    DADI_CHECK(session.out().flush());
    result = wait_for_end(session.stop(), *image.device, -1, parent.get());
  } else {
    result = run_command(session, options, places.front(), *image.device, parent.get());
  }
  notify_manager("STOPPING=1\n");
  server->stop();
  if (recorder) DADI_CHECK(write_recording(*recorder, options.record, image.origin));
  if (upper) DADI_CHECK(upper->layers()->flush());
  return result;
}

constexpr auto kExamples =
    "dadi serve oci:debian-dadi\n"
    "dadi serve oci:debian-dadi --run 'nbdinfo \"$uri\"'\n"
    "dadi serve oci:debian-dadi --run 'nbdcopy \"$uri\" disk.img'\n"
    "dadi serve oci:debian-dadi --socket debian.sock\n"
    "dadi serve docker://localhost:5000/debian:dadi --download\n"
    "dadi serve oci:debian-dadi --writable=changes --socket debian.sock\n"
    "dadi serve oci:debian-dadi --port 10809 --bind 0.0.0.0 --tls-cert cert.pem --tls-key key.pem --tls-ca ca.pem";

}  // namespace

void add_serve(CommandLine& line, Session& session) {
  auto& options = session.keep<ServeOptions>();
  auto command = line.add("serve", "Serve the device to NBD clients until a signal comes; prints the URI", kExamples);
  add_image_options(command, options.image);
  add_download_options(command, options.image.lazy);
  command.option("--socket", options.listen.socket, "PATH", "Unix socket to listen on; without, a private one is made")
      .option("--port", options.listen.port, "PORT", "Listen on TCP instead; 0 is any free port")
      .option("--bind", options.listen.bind, "ADDR", "Address for TCP; without, the loopback alone")
      .option("--tls-cert", options.tls.certificate, "FILE", "Certificate, PEM; TCP clients must then use TLS")
      .option("--tls-key", options.tls.key, "FILE", "Its key, PEM")
      .option("--tls-ca", options.tls.authority, "FILE", "Authority whose certificates clients must have, PEM")
      .option("--export-name", options.listen.export_name, "NAME", "Name that clients may ask for; \"\" always works")
      .option("--max-clients", options.clients, "N", "Clients at once; more are turned away")
      .at_least(1)
      .option("--memory", options.memory, "SIZE", "For decompressed blocks")
      .option("--record", options.record, "FILE", "Remember what is read: a trace, written at the end")
      .flag_with_value("--writable", options.writable, kTemporary, "DIR",
                       "Let clients write, to a layer in this folder; without one, to one that is gone at the end")
      .option("--writable-size", options.writable_size, "SIZE", "What the writable layer may take; without, the disk")
      .option("--writable-form", options.writable_form, "FORM", "Of a new writable layer: append or sparse")
      .one_of({"append", "sparse"})
      .option("--run", options.run, "CMD", "Run a shell command with $uri and $socket set, and end with its status")
      .flag("--exit-with-parent", options.exit_with_parent, "End when the process that started dadi ends");
  command.run([&] { session.finish(serve(session, options).context("serve {}", options.image.reference)); });
}

}  // namespace dadi
