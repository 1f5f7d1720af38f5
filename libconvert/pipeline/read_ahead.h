// A byte source that is read on a thread of its own, a bounded number of pieces ahead.
#pragma once

#include <memory>

#include "libformat/blob/byte_stream.h"

namespace dadi::pipeline {

// Takes over `source` and starts reading. The pieces are copied, small ones together; at most 2 MiB wait. Destroying it
// stops the thread, which may take as long as a call of next() of `source`.
std::unique_ptr<ByteSource> read_ahead(std::unique_ptr<ByteSource> source);

}  // namespace dadi::pipeline
