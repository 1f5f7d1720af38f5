#include "apps/dadi/container_config.h"

#include <string>
#include <utility>
#include <vector>

#include "apps/dadi/session.h"

namespace dadi {

void take_config(std::string_view json, Containment& containment) {
  const Json document = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  const auto config = document.find("config");
  if (config == document.end() || !config->is_object()) return;
  const auto texts = [&](const char* name) {
    std::vector<std::string> found;
    if (const auto list = config->find(name); list != config->end() && list->is_array())
      for (const Json& one : *list)
        if (one.is_string() && one.get_ref<const std::string&>().find('\0') == std::string::npos) found.push_back(one);
    return found;
  };
  for (std::string& one : texts("Env")) {
    const std::string name = one.substr(0, one.find('=')) + "=";
    std::erase_if(containment.environment, [&](const std::string& earlier) { return earlier.starts_with(name); });
    containment.environment.push_back(std::move(one));
  }
  const auto directory = config->find("WorkingDir");
  if (directory != config->end() && directory->is_string() && !directory->get_ref<const std::string&>().empty())
    containment.directory = *directory;
  if (!containment.words.empty()) return;
  containment.words = texts("Entrypoint");
  for (std::string& word : texts("Cmd")) containment.words.push_back(std::move(word));
}

}  // namespace dadi
