#include "apps/dadi/idle_reads.h"

#include "runtime/attach/control.h"

namespace dadi {
namespace {

constexpr auto kBetweenLooks = std::chrono::milliseconds(200);
constexpr auto kStatsPatience = std::chrono::seconds(5);

std::uint64_t count_in(const attach::Json& stats, const char* name) {
  const auto found = stats.find(name);
  return found != stats.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}

}  // namespace

Result<IdleReads> IdleReads::watch(std::filesystem::path control_socket, std::chrono::seconds idle) {
  IdleReads watched(std::move(control_socket), idle);
  DADI_TRY(const Reads reads, watched.ask());
  watched.ended_ = reads.ended;
  watched.next_ = Clock::now() + kBetweenLooks;
  return watched;
}

Result<IdleReads::Reads> IdleReads::ask() const {
  DADI_TRY(const attach::Json stats,
           attach::ask(control_socket_, {{"request", "stats"}}, attach::Patience::of(kStatsPatience)));
  return Reads{count_in(stats, "reads") + count_in(stats, "errors"), count_in(stats, "under_way")};
}

Result<bool> IdleReads::hold() {
  if (Clock::now() < next_) return false;
  DADI_TRY(const Reads reads, ask());
  const auto now = Clock::now();
  next_ = now + kBetweenLooks;
  if (reads.ended != ended_ || reads.under_way > 0) {
    ended_ = reads.ended;
    read_ = true;
    last_read_ = now;
  }
  return read_ && now - last_read_ >= idle_;
}

}  // namespace dadi
