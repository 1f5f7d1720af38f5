// Bytes on their way to a client, in the order in which they were put here.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <deque>
#include <span>
#include <vector>

#include "runtime/nbd/buffer.h"

namespace dadi::nbd {

// Small replies are gathered side by side; large ones keep the buffer that they were read into. One thread.
class Output {
 public:
  // `spare` is borrowed: sent buffers go there.
  explicit Output(SpareBuffers& spare) : spare_(&spare) {}

  // Room for `size` more bytes, for the caller to fill. Valid until the next call. Throws std::bad_alloc.
  std::span<std::byte> append(std::size_t size);
  void append(std::span<const std::byte> data);
  // Shortens what was appended last. REQUIRES: size is no more than that.
  void take_back(std::size_t size);

  // Parts of memory, to be sent in their order. REQUIRES: each lies within it, and it outlives their sending.
  struct Part {
    std::size_t offset;
    std::size_t size;
  };
  void push(std::span<std::byte> memory, std::vector<Part> parts);
  // The same of a buffer's memory; the buffer is kept until they were sent, and with it parts of it pushed before.
  void push(Buffer buffer, std::vector<Part> parts);

  std::size_t pending() const { return pending_; }  // bytes to send
  std::size_t held() const { return held_; }        // bytes of the buffers that are kept until then

  // The next bytes to send, in as many pieces as one call to the kernel takes. Valid until the next call of another
  // method.
  std::span<const iovec> next();
  // `size` bytes of next() were sent.
  void sent(std::size_t size);

 private:
  struct Entry {
    Buffer buffer;  // may be empty: somebody else keeps the memory
    std::span<std::byte> memory;
    std::vector<Part> parts;  // not sent yet, from `first` on
    std::size_t first = 0;
    bool open = false;  // more may be appended
  };

  SpareBuffers* spare_;
  std::deque<Entry> entries_;
  std::vector<iovec> next_;
  std::size_t pending_ = 0;
  std::size_t held_ = 0;
};

}  // namespace dadi::nbd
