// Writing images into an OCI layout folder. Internal to this folder.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "libconvert/oci/image_store.h"

namespace dadi::oci {

// See open_destination(). Blobs wait in a staging folder within the layout; commit() moves them to their names and then
// replaces index.json, under a lock that all writers of ours take.
Result<std::unique_ptr<ImageDestination>> open_layout_destination(const std::filesystem::path& folder,
                                                                  const std::string& tag);

// The text of an index.json with `root` under `tag`: in place of the entry that had the tag, or at the end. All other
// entries and fields stay. `index` empty: a new one. Errors: corruption (not an index).
Result<std::string> index_with(std::string_view index, const Descriptor& root, const std::string& tag);

}  // namespace dadi::oci
