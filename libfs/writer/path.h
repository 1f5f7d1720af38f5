// Paths in archives.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dadi::fs {

// The components of a path; empty ones and "." are left out, ".." is kept.
std::vector<std::string> path_components(std::string_view path);

// The components of a path in an archive: as above, and ".." removes the component before it, and at the root nothing.
std::vector<std::string> clean_path(std::string_view path);

}  // namespace dadi::fs
