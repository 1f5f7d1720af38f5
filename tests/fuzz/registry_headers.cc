// What registries say in headers: challenges, ranges, and where to go on.
// Input: the value of a header, taken as each.
// Holds: challenges, written out again, mean the same; numbers are those that stand there; a Location leads to an
// address of the web, or nowhere.
#include "libconvert/registry/challenge.h"
#include "libconvert/registry/http.h"
#include "libconvert/registry/range_headers.h"
#include "tests/fuzz/fuzz_input.h"

namespace dadi::fuzz {
namespace {

std::string written(const std::vector<registry::Challenge>& challenges) {
  std::string text;
  for (const registry::Challenge& challenge : challenges) {
    text += challenge.scheme + " ";
    for (const auto& [name, value] : challenge.parameters) {
      text += name + "=\"";
      for (const char c : value) text += (c == '"' || c == '\\' ? "\\" : "") + std::string(1, c);
      text += "\", ";
    }
    text += ", ";
  }
  return text;
}

void challenges(std::string_view text) {
  const auto parsed = registry::parse_challenges(text);
  require(parsed.size() <= text.size(), "a challenge is a character, at least");
  for (const registry::Challenge& challenge : parsed) {
    require(!challenge.scheme.empty(), "a challenge has a scheme");
    require(challenge.scheme.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ \t,=\"") == std::string::npos,
            "a scheme is a word in lower case");
  }
  const auto again = registry::parse_challenges(written(parsed));
  require(again.size() == parsed.size(), "as many challenges, written out");
  for (std::size_t i = 0; i < parsed.size(); ++i)
    require(again[i].scheme == parsed[i].scheme && again[i].parameters == parsed[i].parameters,
            "challenges, written out, mean the same");
}

void ranges(std::string_view text) {
  if (const auto range = registry::parse_content_range(text)) {
    require(range->first <= range->last && (!range->size || range->last < *range->size), "a range is one of the whole");
    const std::string written = "bytes " + std::to_string(range->first) + "-" + std::to_string(range->last) + "/" +
                                (range->size ? std::to_string(*range->size) : "*");
    require(registry::parse_content_range(written) == range, "a range, written out, is the same");
  }
  const auto end = registry::upload_range_end(text);
  if (end) require(registry::upload_range_end("0-" + std::to_string(*end)) == end, "an end, written out, is the same");
  const auto number = registry::header_number(text);
  if (number) require(registry::header_number(std::to_string(*number)) == number, "a number, written out, is the same");
}

void location(std::string_view text) {
  const std::string from = "https://registry.example:5000/v2/a/b/blobs/uploads/?x=y";
  const std::string to = registry::resolve_url(from, text);
  if (to.empty()) return;
  require(to.starts_with("https://") || to.starts_with("http://"), "a location is an address of the web");
  require(to.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos, "an address is one line");
  require(registry::origin_of(registry::resolve_url(from, to)) == registry::origin_of(to),
          "an address leads to the same host again");
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi::fuzz;
  Input input(data, size);
  const std::string_view text = dadi::as_text(input.rest());
  challenges(text);
  ranges(text);
  location(text);
  return 0;
}
