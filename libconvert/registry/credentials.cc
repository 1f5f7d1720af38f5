#include "libconvert/registry/credentials.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>

#include "libconvert/oci/json.h"
#include "libformat/base/bytes.h"
#include "libformat/base/unique_fd.h"
#include "libformat/blob/file_blob.h"

namespace dadi::registry {

namespace {

namespace fs = std::filesystem;
using oci::Json;

constexpr std::uint64_t kMostBytes = 4 << 20;  // of a file of credentials

// None: there is no such file. What is wrong in it is not quoted: it is full of secrets.
Result<std::optional<Json>> load(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::optional<Json>();
  DADI_TRY(const auto blob, FileBlob::open(path));
  if (blob->size().value > kMostBytes) return Error::corruption("{}: too large for credentials", path.string());
  DADI_TRY(const auto bytes, read_range(*blob, {0}, blob->size()));
  if (bytes.empty()) return std::optional(Json(Json::object()));
  auto json = oci::parse_json(bytes);
  if (!json || !json->is_object()) return Error::corruption("{}: not a JSON object", path.string());
  return std::optional(std::move(*json));
}

const Json* member(const Json& json, const char* name) {
  if (!json.is_object()) return nullptr;
  const auto at = json.find(name);
  return at == json.end() ? nullptr : &*at;
}

std::string text_of(const Json& json, const char* name) {
  const Json* found = member(json, name);
  return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

// "https://index.docker.io/v1/" and "index.docker.io" are written for docker.io, "https://HOST/v2/" for HOST.
std::string normalized(std::string key) {
  for (const std::string_view scheme : {"https://", "http://"})
    if (key.starts_with(scheme)) key.erase(0, scheme.size());
  while (key.ends_with('/')) key.pop_back();
  for (const std::string_view version : {"/v1", "/v2"})
    if (key.ends_with(version)) key.resize(key.size() - version.size());
  if (key == "index.docker.io" || key == "registry-1.docker.io") key = "docker.io";
  return key;
}

std::optional<Credential> decode(const Json& entry) {
  Credential credential;
  credential.identity_token = text_of(entry, "identitytoken");
  if (const auto pair = base64_decode(text_of(entry, "auth")); pair && pair->find(':') != std::string::npos) {
    credential.user = pair->substr(0, pair->find(':'));
    credential.password = pair->substr(pair->find(':') + 1);
    // Docker pads with NULs.
    while (credential.password.ends_with('\0')) credential.password.pop_back();
  } else {
    credential.user = text_of(entry, "username");
    credential.password = text_of(entry, "password");
  }
  if (credential.user.empty() && credential.identity_token.empty()) return std::nullopt;
  return credential;
}

std::string server_for(const std::string& host) {
  return host == "docker.io" ? "https://index.docker.io/v1/" : host;
}

Result<std::optional<Credential>> find_in(const Json& file, const AskHelper& ask_helper, const std::string& host,
                                          const std::string& repository) {
  if (const Json* auths = member(file, "auths"); auths != nullptr && auths->is_object()) {
    for (std::string name = host + "/" + repository;;) {
      for (const auto& [key, entry] : auths->items()) {
        if (normalized(key) != name) continue;
        if (auto credential = decode(entry)) return credential;
      }
      const std::size_t slash = name.rfind('/');
      if (slash == std::string::npos) break;
      name.resize(slash);
    }
  }
  std::string helper;
  if (const Json* helpers = member(file, "credHelpers")) helper = text_of(*helpers, host.c_str());
  if (helper.empty()) helper = text_of(file, "credsStore");
  if (helper.empty() || !ask_helper) return std::optional<Credential>();
  return ask_helper(helper, server_for(host));
}

// As replace_file(), but nobody else may ever read it.
Result<void> replace_private(const fs::path& path, const std::string& content) {
  const fs::path temporary = path.string() + ".dadi-new";
  ::unlink(temporary.c_str());
  const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  const auto failed = [&] {
    const int number = errno;
    ::unlink(temporary.c_str());
    return Error::from_errno(number, fmt::format("write {}", path.string()));
  };
  if (!fd) return failed();
  for (std::string_view rest = content; !rest.empty();) {
    const ssize_t n = ::write(fd.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed();
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(fd.get()) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) return failed();
  return sync_directory(path.parent_path().empty() ? "." : path.parent_path());
}

// Takes every entry of that meaning away.
bool erase_entries(Json& file, const std::string& key) {
  if (!file.contains("auths") || !file["auths"].is_object()) return false;
  std::vector<std::string> found;
  for (const auto& [name, entry] : file["auths"].items())
    if (normalized(name) == key) found.push_back(name);
  for (const std::string& name : found) file["auths"].erase(name);
  return !found.empty();
}

}  // namespace

std::string Credential::basic() const {
  return "Basic " + base64_encode(user + ":" + password);
}

Result<std::optional<Credential>> find_credential(const std::vector<fs::path>& files, const AskHelper& ask_helper,
                                                  const std::string& host, const std::string& repository) {
  for (const fs::path& path : files) {
    DADI_TRY(const auto file, load(path));
    if (!file) continue;
    DADI_TRY(auto credential, find_in(*file, ask_helper, host, repository).context("{}", path.string()));
    if (credential) return credential;
  }
  return std::optional<Credential>();
}

Result<void> store_credential(const fs::path& path, const std::string& key, const Credential& credential) {
  DADI_TRY(auto file, load(path));
  Json json = file ? std::move(*file) : Json(Json::object());
  erase_entries(json, key);
  if (!json["auths"].is_object()) json["auths"] = Json::object();
  json["auths"][key] = {{"auth", base64_encode(credential.user + ":" + credential.password)}};
  if (const fs::path folder = path.parent_path(); !folder.empty()) {
    std::error_code failure;
    fs::create_directories(folder, failure);
    if (failure) return Error::from_errno(failure.value(), fmt::format("make {}", folder.string()));
  }
  return replace_private(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Result<bool> erase_credential(const fs::path& path, const std::string& key) {
  DADI_TRY(auto json, load(path));
  if (!json || !erase_entries(*json, key)) return false;
  DADI_CHECK(replace_private(path, json->dump(2, ' ', false, Json::error_handler_t::replace) + "\n"));
  return true;
}

std::string base64_encode(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0 || text.size() > kMostBytes) return std::nullopt;
  std::string out(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) return std::nullopt;
  out.resize(static_cast<std::size_t>(size) - static_cast<std::size_t>(text.ends_with("==") ? 2 : text.ends_with('=')));
  return out;
}

}  // namespace dadi::registry
