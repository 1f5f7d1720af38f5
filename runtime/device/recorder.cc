#include "runtime/device/recorder.h"

namespace dadi::runtime {

void Recorder::note(const trace::Read& read) {
  const std::lock_guard lock(mutex_);
  if (reads_.size() < trace::kMostReads) reads_.push_back(read);
}

std::vector<trace::Read> Recorder::reads() const {
  const std::lock_guard lock(mutex_);
  return reads_;
}

Result<void> RecordedLayer::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const {
  DADI_CHECK(layer_->read_at(offset, out, context));
  recorder_->note({number_, offset, {out.size()}});
  return {};
}

}  // namespace dadi::runtime
