// Writing an image as an OCI archive: a layout in a tar file. Internal to this folder.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "libconvert/oci/image_store.h"

namespace dadi::oci {

// See open_destination(). Blobs wait in a staging folder beside the file; commit() puts them into one tar archive,
// which depends on the image and the tag alone, and gives it its name.
Result<std::unique_ptr<ImageDestination>> open_archive_destination(const std::filesystem::path& file,
                                                                   const std::string& tag);

}  // namespace dadi::oci
