#include "libconvert/oci/reference.h"

#include <algorithm>
#include <array>

#include "libconvert/oci/docker_archive.h"
#include "libconvert/oci/file_tree.h"
#include "libconvert/oci/layout_source.h"

namespace dadi::oci {

namespace {

namespace fs = std::filesystem;
using Kind = Reference::Kind;

struct Prefix {
  std::string_view text;
  Kind kind;
};

constexpr std::array kPrefixes{
    Prefix{"oci:", Kind::kLayout},    Prefix{"oci-archive:", Kind::kOciArchive},
    Prefix{"layers:", Kind::kLayers}, Prefix{"docker-archive:", Kind::kDockerArchive},
    Prefix{"config:", Kind::kConfig}, Prefix{"docker://", Kind::kRegistry},
};
constexpr std::array<std::string_view, 5> kOtherTools{
    "docker-daemon:", "containers-storage:", "dir:", "ostree:", "sif:"};

std::string_view prefix_of(Kind kind) {
  return std::ranges::find(kPrefixes, kind, &Prefix::kind)->text;
}

bool is_lower_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_word(char c) {
  return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

// Runs of lower-case letters and digits, joined by one dot, one or two underscores, or dashes.
bool is_repository_part(std::string_view part) {
  if (part.empty() || !is_lower_or_digit(part.front()) || !is_lower_or_digit(part.back())) return false;
  for (std::size_t at = 0; at < part.size();) {
    if (is_lower_or_digit(part[at])) {
      ++at;
      continue;
    }
    const std::size_t end = part.find_first_of("abcdefghijklmnopqrstuvwxyz0123456789", at);
    const std::string_view joint = part.substr(at, end - at);
    const bool dashes = joint.find_first_not_of('-') == std::string_view::npos;
    if (!dashes && joint != "." && joint != "_" && joint != "__") return false;
    at = end;
  }
  return true;
}

bool is_registry_tag(std::string_view tag) {
  return !tag.empty() && tag.size() <= 128 && is_word(tag.front()) &&
         std::ranges::all_of(tag, [](char c) { return is_word(c) || c == '.' || c == '-'; });
}

bool is_host(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](char c) {
    return is_word(c) || c == '.' || c == '-' || c == ':' || c == '[' || c == ']';
  });
}

// A layout's tag: what the image specification allows in an annotation of that name, and a little more.
bool is_layout_tag(std::string_view tag) {
  return tag.size() <= 512 && std::ranges::all_of(tag, [](char c) { return c > ' ' && c < '\x7f' && c != '"'; });
}

// Takes "@sha256:…" off the end of `text`, if it is there.
Result<std::optional<Digest>> take_digest(std::string_view& text) {
  const std::size_t at = text.rfind("@sha");
  if (at == std::string_view::npos) return std::optional<Digest>();
  DADI_TRY(const Digest digest, Digest::parse(text.substr(at + 1)));
  text = text.substr(0, at);
  return std::optional(digest);
}

// PATH[:TAG][@DIGEST]
Result<Reference> parse_stored(Kind kind, std::string_view text) {
  Reference reference;
  reference.kind = kind;
  DADI_TRY(reference.digest, take_digest(text));
  const std::size_t colon = text.find(':');
  const std::string_view path = text.substr(0, colon);
  if (path.empty()) return Error::invalid_argument("no path after \"{}\"", prefix_of(kind));
  reference.files = {fs::path(path)};
  if (colon != std::string_view::npos) reference.tag = text.substr(colon + 1);
  if (!is_layout_tag(reference.tag)) return Error::invalid_argument("\"{}\" is not a tag", reference.tag);
  if (reference.digest && !reference.tag.empty())
    return Error::invalid_argument("a tag and a digest: one of them is enough");
  return reference;
}

Result<Reference> parse_layers(std::string_view text) {
  Reference reference;
  reference.kind = Kind::kLayers;
  for (;;) {
    const std::size_t comma = text.find(',');
    const std::string_view file = text.substr(0, comma);
    if (file.empty()) return Error::invalid_argument("a file's name is missing in the list of layers");
    reference.files.emplace_back(file);
    if (comma == std::string_view::npos) return reference;
    text.remove_prefix(comma + 1);
  }
}

Result<Reference> parse_config(std::string_view text) {
  if (text.empty()) return Error::invalid_argument("no path after \"config:\"");
  Reference reference;
  reference.kind = Kind::kConfig;
  reference.files = {fs::path(text)};
  return reference;
}

// What image store is at that path, if any. Errors: unsupported (an archive that is compressed).
Result<std::optional<Kind>> recognise(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored))
    return FolderTree(path).contains(kLayoutFile) ? std::optional(Kind::kLayout) : std::nullopt;
  auto blob = FolderTree("").open(path.string());
  if (!blob) return std::optional<Kind>();
  auto archive = TarTree::open(std::move(*blob));
  if (!archive && archive.error().code() == ErrorCode::kUnsupported) return std::move(archive).error();
  if (!archive) return std::optional<Kind>();
  if ((*archive)->contains(kLayoutFile)) return std::optional(Kind::kOciArchive);
  return (*archive)->contains(kDockerArchiveFile) ? std::optional(Kind::kDockerArchive) : std::nullopt;
}

// A path without a prefix, with or without a tag. None: no store is there.
Result<std::optional<Reference>> guess(std::string_view text) {
  std::string_view path = text;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    DADI_TRY([[maybe_unused]] const auto digest, take_digest(path));
    path = path.substr(0, path.find(':'));
  }
  DADI_TRY(const auto kind, recognise(path));
  if (!kind) return std::optional<Reference>();
  Reference reference;
  if (path == text) {  // colons and all
    reference.kind = *kind;
    reference.files = {fs::path(text)};
  } else {
    DADI_TRY(reference, parse_stored(*kind, text));
  }
  reference.guessed = true;
  return std::optional(std::move(reference));
}

// A folder does not make its name a path: people have folders named after images.
bool is_path(std::string_view text) {
  std::error_code ignored;
  if (fs::is_regular_file(text, ignored)) return true;
  return text.starts_with('/') || text.starts_with("./") || text.starts_with("../") || text == "." || text == "..";
}

Error no_store(std::string_view text) {
  const std::string path(text);
  std::error_code ignored;
  if (fs::exists(path, ignored))
    return Error::invalid_argument("neither an OCI layout nor an image archive is there")
        .with_hint("oci:DIR is a layout to be made, layers:FILE a block layer, docker://NAME an image on a registry");
  return Error::not_found("no such file or folder").with_hint("for a new layout, write oci:{}", path);
}

Result<Reference> parse(std::string_view text) {
  if (text.empty()) return Error::invalid_argument("an empty image reference");
  if (text.size() > 8192) return Error::invalid_argument("an image reference of {} bytes", text.size());
  if (text.find('\0') != std::string_view::npos) return Error::invalid_argument("a NUL in an image reference");
  for (const Prefix& prefix : kPrefixes) {
    if (!text.starts_with(prefix.text)) continue;
    const std::string_view rest = text.substr(prefix.text.size());
    if (prefix.kind == Kind::kRegistry) return parse_registry_name(rest);
    if (prefix.kind == Kind::kLayers) return parse_layers(rest);
    if (prefix.kind == Kind::kConfig) return parse_config(rest);
    return parse_stored(prefix.kind, rest);
  }
  for (const std::string_view other : kOtherTools)
    if (text.starts_with(other))
      return Error::unsupported("references of the kind \"{}\" are not understood", other)
          .with_hint("copy the image first: skopeo copy {} oci:DIR:TAG", text);
  DADI_TRY(auto guessed, guess(text));
  if (guessed) return std::move(*guessed);
  if (is_path(text)) return no_store(text);
  return parse_registry_name(text);
}

}  // namespace

std::string Reference::to_string() const {
  std::string text(prefix_of(kind));
  if (kind == Kind::kRegistry) text += host + "/" + repository;
  for (std::size_t i = 0; i < files.size(); ++i) text += (i == 0 ? "" : ",") + files[i].string();
  if (!tag.empty()) text += ":" + tag;
  if (digest) text += "@" + digest->to_string();
  return text;
}

Result<Reference> parse_reference(std::string_view text) {
  return parse(text).context("\"{}\"", text.substr(0, 300));
}

Result<Reference> parse_registry_name(std::string_view text) {
  constexpr std::string_view kDefaultHost = "docker.io";
  Reference reference;
  reference.kind = Kind::kRegistry;
  DADI_TRY(reference.digest, take_digest(text));
  const std::size_t slash = text.find('/');
  const std::string_view first = text.substr(0, slash);
  // The first part is a host if it cannot be a part of a repository's name.
  const bool has_host =
      slash != std::string_view::npos && (first.find_first_of(".:") != std::string_view::npos || first == "localhost" ||
                                          std::ranges::any_of(first, [](char c) { return c >= 'A' && c <= 'Z'; }));
  reference.host = has_host ? first : kDefaultHost;
  if (has_host) text.remove_prefix(slash + 1);
  if (reference.host == "index.docker.io") reference.host = kDefaultHost;
  if (!is_host(reference.host)) return Error::invalid_argument("\"{}\" is not a registry's name", reference.host);
  const std::size_t colon = text.find(':');
  if (colon != std::string_view::npos) {
    reference.tag = text.substr(colon + 1);
    if (!is_registry_tag(reference.tag)) return Error::invalid_argument("\"{}\" is not a tag", reference.tag);
  } else if (!reference.digest) {
    reference.tag = "latest";
  }
  reference.repository = text.substr(0, colon);
  if (reference.host == kDefaultHost && reference.repository.find('/') == std::string::npos)
    reference.repository.insert(0, "library/");
  if (reference.repository.size() > 255) return Error::invalid_argument("a repository's name of more than 255 bytes");
  for (std::string_view rest = reference.repository;;) {
    const std::size_t end = rest.find('/');
    if (!is_repository_part(rest.substr(0, end)))
      return Error::invalid_argument("\"{}\" is not a repository's name", reference.repository)
          .with_hint("an image is named HOST/NAME:TAG in lower case, oci:DIR:TAG or oci-archive:FILE:TAG");
    if (end == std::string_view::npos) return reference;
    rest.remove_prefix(end + 1);
  }
}

}  // namespace dadi::oci
