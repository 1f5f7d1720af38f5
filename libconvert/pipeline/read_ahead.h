// A byte source that is read on a thread of its own, a bounded number of pieces ahead.
#pragma once

#include <memory>

#include "libformat/blob/byte_stream.h"

namespace dadi::pipeline {

// Takes over `source` and starts reading. The pieces are copied; at most 4 MiB wait. Destroying it stops the thread.
std::unique_ptr<ByteSource> read_ahead(std::unique_ptr<ByteSource> source);

}  // namespace dadi::pipeline
