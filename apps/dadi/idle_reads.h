// Whether an attached device is still being read.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "libformat/base/result.h"

namespace dadi {

// Asks a device's dadid what it has read. One thread at a time.
class IdleReads {
 public:
  // From now on. `control_socket`: the dadid's. Errors: those of attach::ask().
  static Result<IdleReads> watch(std::filesystem::path control_socket, std::chrono::seconds idle);

  // Whether something was read, and then nothing for that long; a read counts until it ends. To be called again and
  // again: asks five times a second, and says no meanwhile.
  // Errors: those of attach::ask().
  Result<bool> hold();

 private:
  using Clock = std::chrono::steady_clock;
  struct Reads {
    std::uint64_t ended = 0;
    std::uint64_t under_way = 0;
  };

  IdleReads(std::filesystem::path control_socket, std::chrono::seconds idle)
      : control_socket_(std::move(control_socket)), idle_(idle) {}
  Result<Reads> ask() const;

  std::filesystem::path control_socket_;
  std::chrono::seconds idle_;
  std::uint64_t ended_ = 0;
  bool read_ = false;
  Clock::time_point last_read_;
  Clock::time_point next_;
};

}  // namespace dadi
