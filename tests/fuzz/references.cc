// Image references and platforms, as people write them.
// Input: a line of text, taken as both; a second line is another platform.
// Holds: what is understood reads the same when written out in full; a platform by its usual names serves itself.
#include "libconvert/oci/platform.h"
#include "libconvert/oci/reference.h"
#include "tests/fuzz/fuzz_input.h"

namespace dadi::fuzz {
namespace {

void reference(std::string_view text) {
  auto parsed = oci::parse_reference(text);
  if (!parsed) {
    require(!parsed.error().message().empty(), "a refusal says why");
    return;
  }
  parsed->guessed = false;
  const auto again = must(oci::parse_reference(parsed->to_string()), "what was understood is, written out in full");
  require(again == *parsed, "a reference, written out in full, means the same");
}

void registry_name(std::string_view text) {
  const auto parsed = oci::parse_registry_name(text);
  if (!parsed) return;
  require(parsed->kind == oci::Reference::Kind::kRegistry && parsed->files.empty(), "a name has no files");
  require(!parsed->tag.empty() || parsed->digest, "a name has a tag or a digest");
  require(must(oci::parse_reference(parsed->to_string()), "a name is understood in full") == *parsed,
          "a name, written out in full, means the same");
}

void platforms(std::string_view text, std::string_view other_text) {
  const auto parsed = oci::parse_platform(text);
  if (!parsed) return;
  require(oci::normalized(*parsed) == *parsed, "a platform has its usual names");
  require(must(oci::parse_platform(parsed->to_string()), "a platform's text is one") == *parsed,
          "a platform, written out, is the same");
  require(oci::match_rank(*parsed, *parsed) == 0U, "a platform serves itself");
  const auto other = oci::parse_platform(other_text);
  if (!other) return;
  const auto rank = oci::match_rank(*parsed, *other);
  const auto back = oci::match_rank(*other, *parsed);
  require((rank == 0U) == (*parsed == *other), "what serves exactly is the same");
  require(!rank || !back || *rank == 0 || *back == 0 || parsed->variant != other->variant, "one of two is the older");
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi::fuzz;
  Input input(data, size);
  const std::string_view text = dadi::as_text(input.rest());
  const std::string_view first = text.substr(0, text.find('\n'));
  const std::string_view second = first.size() < text.size() ? text.substr(first.size() + 1) : "";
  reference(text);
  reference(first);
  registry_name(first);
  platforms(first, second);
  return 0;
}
