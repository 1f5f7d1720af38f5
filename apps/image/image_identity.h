// Which image a reference means now, so that another process, or the same a week later, opens that one and no other.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/image/block_image.h"

namespace dadi {

struct ImageIdentity {
  std::string reference;  // pinned to the manifest's digest, where there is one
  std::string content;    // the same for two references only if they are the same image
  std::string name;       // what people call it, of letters, digits and ._-
  // Of an image on a registry: its manifest and config, by digest, for Access::documents.
  std::map<std::string, std::vector<std::byte>> documents = {};
};

// Looks at manifests and at files' metadata; no layer is opened. A registry is asked, so that this says, too, whether
// the image may be read. Layers as files are known by their inode, size and time, since reading them all would take as
// long as they are large. Errors: those of open_stored_image() and RuntimeConfig::load(); not_found (a file);
// unsupported (an ordinary image).
Result<ImageIdentity> identify_image(const oci::Reference& reference, const std::string& platform, const Notes& notes,
                                     const registry::Access& access);

}  // namespace dadi
