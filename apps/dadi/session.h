// What every command shares: where its answer goes, how it talks, when it stops, and how it ends.
//
// stdout carries the answer and nothing else; progress, notes and errors go to stderr. With --json both are JSON: one
// value on stdout, one object a line on stderr.
#pragma once

#include <fmt/core.h>

#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "apps/dadi/exit_code.h"
#include "apps/dadi/output.h"
#include "apps/dadi/progress.h"
#include "apps/dadi/signals.h"
#include "libformat/base/result.h"
#include "libformat/blob/blob_reader.h"

namespace dadi {

using Json = nlohmann::ordered_json;

// Options that every command takes. Filled from the command line before a command runs.
struct CommonOptions {
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  ProgressMode progress = ProgressMode::kAuto;
};

// One for the program. The answer and finish() belong to the main thread; note(), detail(), stop() and progress() are
// thread-safe once the command line is parsed.
class Session {
 public:
  Session();

  CommonOptions options;

  // A T that lives as long as the session: where a command keeps its options while the command line is parsed.
  template <typename T>
  T& keep() {
    auto kept = std::make_shared<T>();
    kept_.push_back(kept);
    return *kept;
  }

  // Asked to stop by a signal.
  std::stop_token stop() const { return signals_.stop(); }
  ReadContext read_context() const { return {.stop = stop()}; }

  Output& out() { return out_; }
  // Text for people who look at a terminal; the raw bytes for programs. Names from images only.
  std::string shown(std::string_view name) const;
  // The answer as one JSON value.
  void answer(const Json& value);

  Progress& progress();
  // Worth knowing, unless -q.
  void note(std::string_view text);
  // Worth knowing with -v.
  void detail(std::string_view text);

  // Ends the command: prints the error, if there is one, and settles the exit status. Call once.
  void finish(Result<void> result);
  // The command did only a part of what was asked (and has said which): the exit status is 3 unless finish() gets an
  // error.
  void mark_partial() { partial_ = true; }
  // If finish() gets no error, the exit status is that of another program that ran for this command.
  void end_as(int exit_status) { success_status_ = exit_status; }
  int exit_status() const { return exit_status_; }

 private:
  void print_error(const Error& error);
  ProgressMode progress_mode() const;
  void message(std::string_view kind, std::string_view color, std::string_view text);
  void remark(std::string_view kind, std::string_view color, std::string_view text);

  SignalWatch signals_;  // first: threads inherit the signals that it blocks
  Output out_;
  bool stdout_terminal_;
  bool color_;  // of stderr
  std::unique_ptr<Progress> progress_;
  std::once_flag progress_made_;
  std::vector<std::shared_ptr<void>> kept_;
  bool partial_ = false;
  int success_status_ = 0;
  int exit_status_ = 0;
};

}  // namespace dadi
