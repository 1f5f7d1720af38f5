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

// What kAuto means: bars where they can be drawn; elsewhere lines, in the form that the answer has.
ProgressMode Session::progress_mode() const {
  if (options.quiet) return ProgressMode::kNone;
  if (options.progress != ProgressMode::kAuto) return options.progress;
  if (isatty(STDERR_FILENO) == 1 && can_redraw()) return ProgressMode::kTty;
  return options.json ? ProgressMode::kJson : ProgressMode::kPlain;
}

Progress& Session::progress() {
  std::call_once(progress_made_,
                 [this] { progress_ = std::make_unique<Progress>(progress_mode(), STDERR_FILENO, color_); });
  return *progress_;
}

void Session::message(std::string_view kind, std::string_view color, std::string_view text) {
  progress().line(fmt::format("{}{}{}: {}", color_ ? color : "", kind, color_ ? "\x1b[0m" : "", printable(text)));
}

void Session::remark(std::string_view kind, std::string_view color, std::string_view text) {
  if (options.json) return progress().line(Json{{kind, as_utf8(text)}}.dump());
  message(kind, color, text);
}

void Session::note(std::string_view text) {
  if (!options.quiet) remark("note", "\x1b[36m", text);
}

void Session::detail(std::string_view text) {
  if (options.verbose) remark("detail", "\x1b[2m", text);
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

void Session::finish(Result<void> result) {
  if (progress_) progress_->stop();
  if (auto flushed = out_.flush(); result && !flushed) result = std::move(flushed);
  exit_status_ = partial_ ? static_cast<int>(ExitCode::kPartial) : success_status_;
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
