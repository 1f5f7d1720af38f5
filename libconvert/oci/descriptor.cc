#include "libconvert/oci/descriptor.h"

namespace dadi::oci {

const std::string& Descriptor::annotation(const std::string& name) const {
  static const std::string kNone;
  const auto at = annotations.find(name);
  return at == annotations.end() ? kNone : at->second;
}

}  // namespace dadi::oci
