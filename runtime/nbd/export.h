// What an NBD server serves, and within which limits.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "libformat/blob/block_reader.h"
#include "libformat/blob/block_writer.h"
#include "runtime/worker_pool.h"

namespace dadi::nbd {

// A device under a name. A value; copies share the device.
struct Export {
  std::string name;         // UTF-8, at most 4096 bytes; may be empty
  std::string description;  // for people
  std::shared_ptr<const BlockReader> device;
  std::shared_ptr<BlockWriter> writer;  // of the same device; null: read-only
};

// The sizes that requests may have, in bytes. A device is whole sectors, and reads of less are served by reading the
// sectors around; a write of less would have to read and write them, which is not done: it is refused.
struct BlockSizes {
  std::uint32_t minimum = 1;
  std::uint32_t preferred = 4096;
  std::uint32_t maximum = 32 << 20;  // of data in a request or reply
};
inline BlockSizes block_sizes(const Export& served) {
  return {.minimum = served.writer ? static_cast<std::uint32_t>(kSectorSize) : 1U};
}

// What one client may take. Whoever exceeds a deadline is disconnected; whoever reaches one of the others waits.
struct Limits {
  std::size_t connections = 64;   // of a server; the next is closed at once
  std::size_t requests = 256;     // being worked on, of a connection
  std::size_t memory = 32 << 20;  // bytes of requests and replies of a connection, but one request always fits
  std::chrono::milliseconds handshake{30'000};  // from accept to the transmission phase
  std::chrono::milliseconds partial{30'000};    // without a byte of a request that has begun
  std::chrono::milliseconds stalled{60'000};    // without a byte of a waiting reply taken
  std::chrono::milliseconds grace{5'000};       // for what is in flight when the server stops
};

// The threads that the connections of a process share. Borrowed; must outlive every connection and request. What
// computes hands over to what waits: `computing` is to end first.
struct Workers {
  runtime::WorkerPool& computing;  // as many threads as cores: asks memory alone
  runtime::WorkerPool& waiting;    // many threads: may wait for a disk or a network
};

// Told, from any thread, what went wrong: a request that failed, a client that was disconnected. The client is named.
// May be empty.
using Observer = std::function<void(const Error&)>;

}  // namespace dadi::nbd
