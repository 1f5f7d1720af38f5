// dadi record REF -- CMD…
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <thread>

#include "apps/dadi/attached.h"
#include "apps/dadi/block_image.h"
#include "apps/dadi/carry_trace.h"
#include "apps/dadi/child_command.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/container_config.h"
#include "apps/dadi/idle_reads.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/temporary_folder.h"
#include "apps/dadi/trace_file.h"

namespace dadi {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr auto kBeside = "beside";                          // --push without a place
constexpr auto kAskAgain = std::chrono::milliseconds(200);  // --until

struct RecordOptions {
  ImageOptions image;
  std::string output;
  std::string push;  // empty: it stays here
  std::string time;
  std::string until;
  std::string idle_time;
  bool host_network = false;
  std::vector<std::string> words;
  std::string dadid;
};

// "30", "30s", "5m", "1h". None: no end.
Result<std::optional<std::chrono::seconds>> parse_time(std::string_view option, const std::string& text) {
  if (text.empty()) return std::optional<std::chrono::seconds>();
  unsigned number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, status] = std::from_chars(text.data(), end, number);
  const std::string_view unit(stop, static_cast<std::size_t>(end - stop));
  const unsigned factor = unit.empty() || unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
  if (status != std::errc() || factor == 0 || number == 0 || number > 1'000'000)
    return Error::invalid_argument("{} {}: not a time, as in 30s or 5m", option, text);
  return std::optional(std::chrono::seconds(std::uint64_t{number} * factor));
}

struct Recording {
  attach::AttachRequest request;
  Containment containment;
};

// Better now than after the work.
Result<void> check_push(const RecordOptions& options, const oci::Reference& reference) {
  using Kind = oci::Reference::Kind;
  if (options.push.empty()) return {};
  if (reference.kind == Kind::kLayers || reference.kind == Kind::kConfig)
    return Error::invalid_argument("--push is for an image with a manifest, which {} is not", reference.to_string());
  if (options.push == kBeside && reference.kind != Kind::kRegistry && reference.kind != Kind::kLayout)
    return Error::unsupported("nothing can be put beside the image {}", reference.to_string())
        .with_hint("--push=DST copies the image with the trace on top");
  if (options.push != kBeside) DADI_CHECK(oci::parse_reference(options.push).context("--push"));
  return {};
}

Result<Recording> prepare(Session& session, const RecordOptions& options, const fs::path& mount,
                          const TemporaryFolder& temporary) {
  DADI_TRY(const oci::Reference reference, parse_image_reference(session, options.image.reference));
  DADI_CHECK(check_push(options, reference));
  DADI_TRY(ImageReach reach, image_reach(session, options.image));
  DADI_TRY(ImageRequest image, request_image(session, reference, options.image.platform, std::move(reach),
                                             options.dadid, [&session](std::string_view text) { session.note(text); }));
  Recording made{.request = std::move(image.attach), .containment = {}};
  made.containment.root = mount.string();
  made.containment.words = options.words;
  made.containment.host_network = options.host_network;
  made.containment.output_to_stderr = session.options.json;
  if (reference.kind != oci::Reference::Kind::kLayers && reference.kind != oci::Reference::Kind::kConfig) {
    DADI_TRY(const StoredImage stored,
             open_converted_image(
                 reference, options.image.platform, [](std::string_view) {}, image.reach.registry));
    take_config(stored.image.config.json(), made.containment);
  }
  if (made.containment.words.empty())
    return Error::invalid_argument("a command is missing, and the image has none").with_hint("dadi record REF -- CMD");
  made.request.like_name = image.name + "-recorded";
  made.request.mount = mount;
  const std::string name = image.name + ".trace";
  const std::string unnamed = options.push.empty() ? name : (temporary / name).string();
  const std::string output = options.output.empty() ? unnamed : options.output;
  DADI_CHECK(check_recordable(output));
  made.request.spec.record = fs::absolute(output).string();
  made.request.spec.record_exactly = true;  // every start that has the trace would fetch what it does not need
  return made;
}

// Whether what --until asks for has come to pass; asked now and then.
class Until {
 public:
  Until(const std::string& text, const ContainedCommand& command, const std::string& root)
      : text_(text), variables_{{"DADI_PID", std::to_string(command.pid())}, {"DADI_ROOT", root}} {}
  ~Until() {
    if (!asking_) return;
    asking_->terminate();
    asking_->wait();
  }

  Result<bool> holds() {
    if (text_.empty()) return false;
    if (!asking_ && Clock::now() >= next_) {
      DADI_TRY(auto asking, ChildCommand::start(text_, variables_));
      asking_.emplace(std::move(asking));
    }
    if (!asking_ || !has_ended(asking_->fd(), {})) return false;
    const int status = asking_->wait();
    asking_.reset();
    next_ = Clock::now() + kAskAgain;
    return status == 0;
  }

 private:
  const std::string& text_;
  const std::vector<std::pair<std::string, std::string>> variables_;
  std::optional<ChildCommand> asking_;
  Clock::time_point next_;
};

// What ends the command, besides itself and --until.
struct Ends {
  std::optional<std::chrono::seconds> time;
  std::optional<std::chrono::seconds> idle;
};

// Runs the command until its end, or that of the recording. Its exit status; 0 if it was ended.
Result<int> run_command(const Session& session, const RecordOptions& options, const Containment& containment,
                        const attach::Listing& listing, const Ends& ends) {
  std::optional<IdleReads> idle;
  if (ends.idle) {
    DADI_TRY(idle, IdleReads::watch(listing.control_socket, *ends.idle));
  }
  DADI_TRY(ContainedCommand command, ContainedCommand::start(containment));
  const auto started = Clock::now();
  Result<bool> done = false;
  {
    Until until(options.until, command, containment.root);
    while (done && !*done) {
      if (has_ended(command.fd(), std::chrono::milliseconds(50))) return command.wait();
      done = until.holds();
      if (done && !*done && idle) done = idle->hold();
      if (session.stop().stop_requested() || (ends.time && Clock::now() - started >= *ends.time)) break;
    }
  }
  command.end();
  if (!done) return std::move(done).error();
  return 0;
}

// Lets the image that was recorded, whatever its tag means by now, carry the trace.
Result<CarriedTrace> push(Session& session, const RecordOptions& options, const Recording& recording,
                          std::span<const trace::Read> reads) {
  ImageOptions image = options.image;
  image.reference = recording.request.spec.reference;
  return options.push == kBeside ? carry_beside(session, image, reads)
                                 : carry_on_top(session, image, reads, options.push);
}

Result<void> record(Session& session, const RecordOptions& options) {
  DADI_CHECK(require_root("recording"));
  DADI_TRY(const auto time, parse_time("--for", options.time));
  DADI_TRY(const auto idle_time, parse_time("--until-idle", options.idle_time));
  DADI_TRY(const MountFolder own, MountFolder::make("dadi-record"));
  DADI_TRY(const auto temporary, TemporaryFolder::make("dadi-record"));
  DADI_TRY(const Recording recording, prepare(session, options, own.mount_point(), temporary));
  DADI_TRY(const auto folder, attach::StateFolder::open());
  DADI_TRY(const attach::Listing listing, attach::attach(folder, recording.request));
  auto ran = run_command(session, options, recording.containment, listing, {time, idle_time});
  DADI_CHECK(detach_when_free(folder, listing.attachment.name));
  const std::string& path = recording.request.spec.record;
  if (!ran) {
    std::error_code ignored;
    for (const fs::path& file : {fs::path(path), origin_path(path)}) fs::remove(file, ignored);  // it is of no start
    return std::move(ran).error();
  }
  DADI_TRY(const TraceFile recorded, TraceFile::load(path, {}));
  DADI_TRY(const auto reads, recorded.recorded());
  const Bytes bytes = trace::total(reads);
  const bool kept = options.push.empty() || !options.output.empty();
  session.note(
      fmt::format("{}: {}, {}", kept ? path : "recorded", format_count(reads.size(), "read"), format_size(bytes)));
  std::optional<CarriedTrace> pushed;
  if (!options.push.empty() && *ran == 0) {
    DADI_TRY(pushed, push(session, options, recording, reads).context("--push"));
    session.note(fmt::format("pushed: {}", pushed->answer["reference"].get<std::string>()));
  } else if (!options.push.empty()) {
    session.note(fmt::format("nothing is pushed: the command failed, with status {}", *ran));
  }
  if (session.options.json) {
    Json answer = Json::object();
    if (kept) answer["path"] = path;
    if (pushed) answer["pushed"] = pushed->answer;
    if (recorded.origin()) answer["image"] = recorded.origin()->image.to_string();
    answer.update({{"reads", reads.size()}, {"bytes", bytes.value}, {"exit_status", *ran}});
    session.answer(answer);
  }
  session.end_as(*ran);
  return {};
}

}  // namespace

void add_record(CommandLine& line, Session& session) {
  auto& options = session.keep<RecordOptions>();
  auto command = line.add("record", "Run a command in a converted image, and keep what it reads: a trace",
                          "sudo dadi record oci:debian-dadi -o app.trace -- /bin/true\n"
                          "sudo dadi record oci:debian-dadi --push -- /bin/true\n"
                          "sudo dadi record oci:debian-dadi --for 2s -o app.trace -- /bin/sleep 60\n"
                          "sudo dadi record oci:debian-dadi --until-idle 2s -- /bin/sleep 60\n"
                          "sudo dadi record oci:debian-dadi --until 'test -e started' -- /bin/sleep 60");
  add_image_options(command, options.image);
  command
      .option("-o,--output", options.output, "TRACE",
              "Where the trace is written; by default named after the image, and nowhere with --push")
      .flag_with_value("--push", options.push, kBeside, "DST",
                       "Let the image carry it: as trace attach --referrer does; with DST as a copy with it on top")
      .option("--for", options.time, "TIME", "End the command after this time, as in 30s or 5m")
      .option("--until", options.until, "CMD", "End it once this succeeds, on the host: sh -c, asked again and again")
      .option("--until-idle", options.idle_time, "TIME",
              "End it once nothing was read of the image for this long, as in 2s")
      .flag("--host-network", options.host_network, "It has the host's network, and not none")
      .option("--dadid", options.dadid, "FILE", "The program that serves the device")
      .trailing_arguments("CMD", options.words, "What to run, behind --; default: what the image's containers run");
  command.run([&] { session.finish(record(session, options).context("record {}", options.image.reference)); });
}

}  // namespace dadi
