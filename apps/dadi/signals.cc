#include "apps/dadi/signals.h"

#include <csignal>
#include <cstdlib>

#include "apps/dadi/exit_code.h"

namespace dadi {
namespace {

// A signal that was ignored when the program started stays ignored: nohup, and shells' background jobs, rely on it.
bool is_ignored(int number) {
  struct sigaction action {};
  return sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  for (const int number : {SIGINT, SIGHUP}) {
    if (!is_ignored(number)) sigaddset(&set, number);
  }
  return set;
}

}  // namespace

SignalWatch::SignalWatch() {
  const sigset_t set = watched_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  watcher_ = std::jthread([this](const std::stop_token& end) { watch(end); });
}

SignalWatch::~SignalWatch() {
  watcher_.request_stop();
  pthread_kill(watcher_.native_handle(), SIGTERM);  // wakes sigwait; the watcher sees that it is to end
}

void SignalWatch::watch(const std::stop_token& end) {
  const sigset_t set = watched_signals();
  for (int count = 1;; ++count) {
    int number = 0;
    if (sigwait(&set, &number) != 0 || end.stop_requested()) return;
    if (count == 1) {
      caught_ = number;
      stop_.request_stop();
    } else if (count >= 3) {
      std::_Exit(kExitSignalBase + number);
    }
  }
}

}  // namespace dadi
