#include "libfs/writer/path.h"

namespace dadi::fs {

std::vector<std::string> path_components(std::string_view path) {
  std::vector<std::string> components;
  while (!path.empty()) {
    const std::string_view part = path.substr(0, path.find('/'));
    if (!part.empty() && part != ".") components.emplace_back(part);
    path.remove_prefix(part.size() < path.size() ? part.size() + 1 : path.size());
  }
  return components;
}

std::vector<std::string> clean_path(std::string_view path) {
  std::vector<std::string> cleaned;
  for (std::string& part : path_components(path)) {
    if (part != "..")
      cleaned.push_back(std::move(part));
    else if (!cleaned.empty())
      cleaned.pop_back();
  }
  return cleaned;
}

}  // namespace dadi::fs
