// registries.conf of the containers tools.
// Input: such a file. Holds: of what is understood the registry itself is the last of at most 17 places, and each is a
// host and a repository in one line; a refusal says why.
#include "libconvert/registry/mirrors.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi::fuzz;
  Input input(data, size);
  const MemoryFile file(dadi::as_text(input.rest()));
  for (const bool by_digest : {false, true}) {
    const auto places = dadi::registry::places_to_pull({file.path()}, "registry.example:5000", "team/app", by_digest);
    if (!places) {
      require(!places.error().message().empty(), "a refusal says why");
      continue;
    }
    require(!places->empty() && places->size() <= 17, "a registry, and its mirrors");
    for (const auto& place : *places) {
      require(!place.host.empty() && !place.repository.empty(), "a place is a host and a repository");
      require(place.host.find('/') == std::string::npos, "a host is no path");
      for (const unsigned char c : place.host + place.repository) require(c > ' ' && c != '@', "a name is one word");
    }
  }
  return 0;
}
