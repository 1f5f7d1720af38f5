// How commands show that an image is laid out.
#pragma once

#include <memory>
#include <string>

#include "apps/dadi/session.h"
#include "apps/dadi/sizes.h"
#include "libconvert/pipeline/optimize.h"

namespace dadi {

// As one task a layer.
class OptimizeProgress final : public pipeline::OptimizeObserver {
 public:
  explicit OptimizeProgress(Session& session) : session_(session) {}

  void layer_started(std::size_t number, const oci::Descriptor& source, Bytes work) override {
    task_ = session_.progress().start(fmt::format("layer {} {}", number + 1, source.digest.brief()), work);
  }
  void layer_advanced(Bytes done) override { task_->set_done(done); }
  void layer_finished() override { task_->finish(); }
  void note(const std::string& text) override { session_.note(text); }

 private:
  Session& session_;
  std::shared_ptr<Progress::Task> task_;
};

// Says what of the trace could not be used.
inline void note_left_out(Session& session, Bytes left_out) {
  if (left_out.value > 0)
    session.note(fmt::format("{} of the trace are no data of this image, and left out", format_size(left_out)));
}

}  // namespace dadi
