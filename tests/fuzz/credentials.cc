// Files of credentials: auth.json of the containers tools, and Docker's config.json.
// Input: such a file. Holds: what is found is a credential that is the same encoded and decoded; a refusal is that of
// any other file which is none, so it shows nothing of this one.
#include "libconvert/registry/credentials.h"

#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/memory_file.h"

namespace dadi::fuzz {
namespace {

using Found = Result<std::optional<registry::Credential>>;

const std::string kHost = "registry.example:5000";
const std::string kRepository = "team/app";

Found find(const std::filesystem::path& file) {
  const auto ask = [](const std::string& name, const std::string& server) -> Found {
    require(!name.empty() && server == kHost, "a helper has a name, and is asked for the host");
    return std::optional<registry::Credential>();
  };
  return registry::find_credential({file}, ask, kHost, kRepository);
}

Found find_in(std::string_view text) {
  const MemoryFile given(text);
  return find(given.path());
}

void file(std::string_view text) {
  const auto found = find_in(text);
  if (!found) {
    require(found.error().message() == find_in("[").error().message(), "a refusal says what every refusal says");
    return;
  }
  if (!*found) return;
  const registry::Credential& credential = **found;
  require(!credential.user.empty() || !credential.identity_token.empty(), "a credential has a user, or a token");
  if (credential.user.find(':') != std::string::npos || credential.user.empty()) return;
  const auto pair = registry::base64_decode(credential.basic().substr(6));
  require(pair == credential.user + ":" + credential.password, "a user and a password, encoded, are the same");
}

void base64(std::string_view text) {
  if (!text.empty()) require(registry::base64_decode(registry::base64_encode(text)) == text, "encoded, and back");
  registry::base64_decode(text);
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi::fuzz;
  Input input(data, size);
  const std::string_view text = dadi::as_text(input.rest());
  file(text);
  base64(text);
  return 0;
}
