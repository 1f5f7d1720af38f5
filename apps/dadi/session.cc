#include "apps/dadi/session.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include "apps/dadi/printable.h"

namespace dadi {
namespace {

// As no-color.org has it: set and not empty means none.
bool wants_color(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && (no_color == nullptr || *no_color == '\0') && term != nullptr &&
         std::strcmp(term, "dumb") != 0;
}

// A dumb terminal cannot redraw a line.
bool can_redraw() {
  const char* term = std::getenv("TERM");
  return term != nullptr && std::strcmp(term, "dumb") != 0;
}

}  // namespace

Session::Session() : out_(STDOUT_FILENO), stdout_terminal_(out_.is_terminal()), color_(wants_color(STDERR_FILENO)) {}

std::string Session::shown(std::string_view name) const {
  return stdout_terminal_ ? printable(name) : std::string(name);
}

void Session::answer(const Json& value) {
  out_.text(value.dump(2, ' ', false, Json::error_handler_t::replace));
  out_.text("\n");
}

Progress& Session::progress() {
  std::call_once(progress_made_, [this] {
    ProgressMode mode = options.quiet ? ProgressMode::kNone : Progress::resolve(options.progress, STDERR_FILENO);
    if (options.progress == ProgressMode::kAuto && mode == ProgressMode::kTty && !can_redraw()) {
      mode = ProgressMode::kPlain;
    }
    progress_ = std::make_unique<Progress>(mode, STDERR_FILENO, color_);
  });
  return *progress_;
}

void Session::message(std::string_view kind, std::string_view color, std::string_view text) {
  progress().line(fmt::format("{}{}{}: {}", color_ ? color : "", kind, color_ ? "\x1b[0m" : "", printable(text)));
}

void Session::note(std::string_view text) {
  if (!options.quiet) message("note", "\x1b[36m", text);
}

void Session::detail(std::string_view text) {
  if (options.verbose) message("detail", "\x1b[2m", text);
}

void Session::print_error(const Error& error) {
  if (options.json) {
    Json object = {
        {"code", name_of(error.code())}, {"exit_status", exit_status_}, {"message", as_utf8(error.message())}};
    if (!error.hint().empty()) object["hint"] = as_utf8(error.hint());
    progress().line(Json{{"error", object}}.dump());
    return;
  }
  message("dadi: error", "\x1b[1;31m", error.message());
  if (!error.hint().empty()) message("hint", "\x1b[1;33m", error.hint());
}

void Session::usage_error(const Error& error) {
  exit_status_ = static_cast<int>(ExitCode::kUsage);
  print_error(error);
}

void Session::finish(Result<void> result) {
  if (progress_) progress_->stop();
  if (auto flushed = out_.flush(); result && !flushed) result = std::move(flushed);
  exit_status_ = static_cast<int>(partial_ ? ExitCode::kPartial : ExitCode::kOk);
  if (result) return;
  if (out_.closed()) {
    exit_status_ = kExitSignalBase + SIGPIPE;
    return;
  }
  const Error& error = result.error();
  exit_status_ = static_cast<int>(exit_code_of(error.code()));
  if (const int caught = signals_.caught(); caught != 0 && error.code() == ErrorCode::kCancelled) {
    exit_status_ = kExitSignalBase + caught;
  }
  print_error(error);
}

}  // namespace dadi
