// Which layers of a trace have colours of their own.
#pragma once

#include <cstdint>
#include <map>

#include "apps/dadi/trace_sums.h"

namespace dadi {

// Few colours can be told apart by everybody: the layers that most is read of have them, the others share a grey. A
// value type.
class TraceColors {
 public:
  explicit TraceColors(const std::map<std::uint32_t, LayerReads>& layers);

  static constexpr unsigned kOwn = 5;
  static constexpr unsigned kShared = kOwn;
  static constexpr unsigned kAll = kOwn + 1;

  unsigned of(std::uint32_t layer) const;
  // The layers that have one, from the bottom.
  const std::map<std::uint32_t, unsigned>& own() const { return own_; }
  bool some_share() const { return some_share_; }

 private:
  std::map<std::uint32_t, unsigned> own_;
  bool some_share_;
};

}  // namespace dadi
