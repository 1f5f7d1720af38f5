#include "apps/image/image_identity.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "apps/image/runtime_config.h"
#include "libconvert/oci/converted.h"

namespace dadi {
namespace {

constexpr std::size_t kLongestName = 40;

// "debian:12 (old)" is "debian-12-old".
std::string plain_name(std::string_view text) {
  std::string name;
  for (const char c : text.substr(0, kLongestName)) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
    if (plain && !(c == '.' && name.empty())) {
      name += c;
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  while (!name.empty() && name.back() == '-') name.pop_back();
  return name.empty() ? "image" : name;
}

std::string name_of_file(const oci::Reference& reference) {
  const std::filesystem::path path = std::filesystem::absolute(reference.path()).lexically_normal();
  const std::filesystem::path last = path.has_filename() ? path.filename() : path.parent_path().filename();
  std::string name = reference.kind == oci::Reference::Kind::kLayout ? last.string() : last.stem().string();
  if (!reference.tag.empty()) name += "-" + reference.tag;
  return plain_name(name);
}

Result<std::string> identity_of(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return Error::from_errno(errno, path.string());
  return fmt::format("{}:{}:{}:{}.{:09};", info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
                     info.st_mtim.tv_nsec);
}

Result<std::string> identity_of(const std::vector<std::filesystem::path>& files) {
  std::string identity = "files:";
  for (const auto& file : files) {
    DADI_TRY(const std::string one, identity_of(file));
    identity += one;
  }
  return identity;
}

Result<std::map<std::string, std::vector<std::byte>>> documents_of(const StoredImage& stored) {
  std::map<std::string, std::vector<std::byte>> documents;
  for (const oci::Descriptor& one : {stored.image.descriptor, stored.image.manifest.config}) {
    DADI_TRY(documents[one.digest.to_string()], oci::read_document(*stored.source, one, oci::kConfigLimit));
  }
  return documents;
}

}  // namespace

Result<ImageIdentity> identify_image(const oci::Reference& reference, const std::string& platform, const Notes& notes,
                                     const registry::Access& access) {
  using Kind = oci::Reference::Kind;
  ImageIdentity identity{.reference = reference.to_string(), .content = "", .name = ""};
  if (reference.kind == Kind::kLayers) {
    DADI_TRY(identity.content, identity_of(reference.files));
  } else if (reference.kind == Kind::kConfig) {
    DADI_TRY(const RuntimeConfig config, RuntimeConfig::load(reference.path()));
    std::vector<std::filesystem::path> files;
    for (const RuntimeConfig::Lower& lower : config.lowers) files.push_back(lower.file);
    if (config.upper) files.insert(files.end(), {config.upper->index, config.upper->data});
    DADI_TRY(identity.content, identity_of(files));
  } else {
    DADI_TRY(const StoredImage stored, open_converted_image(reference, platform, notes, access));
    oci::Reference pinned = reference;
    pinned.tag.clear();
    pinned.digest = stored.image.descriptor.digest;
    identity.reference = pinned.to_string();
    identity.content = stored.image.descriptor.digest.to_string();
    if (reference.kind == Kind::kRegistry) {
      DADI_TRY(identity.documents, documents_of(stored));
    }
  }
  identity.name = reference.kind == Kind::kRegistry ? plain_name(reference.repository) : name_of_file(reference);
  return identity;
}

}  // namespace dadi
