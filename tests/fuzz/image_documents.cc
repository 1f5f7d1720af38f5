// The JSON around images: manifests, indexes, configs, layouts, docker-archives, and the runtime's config file.
// Input: a letter that says what, a tag, and documents, each ended by a NUL. In a document, "@D0" stands for the digest
// and "@S0" for the size of document 0, and so on, so that documents can refer to those before them.
// Holds: what was understood reads the same when written again; an image that is selected has what it says it has.
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <vector>

#include "apps/image/runtime_config.h"
#include "libconvert/oci/docker_archive.h"
#include "libconvert/oci/image.h"
#include "libconvert/oci/layout_source.h"
#include "libformat/base/unique_fd.h"
#include "libformat/blob/memory_blob.h"
#include "tests/fs/tar_builder.h"
#include "tests/fuzz/fuzz_input.h"

namespace dadi::fuzz {
namespace {

std::string_view take(std::string_view& text) {
  const std::string_view part = text.substr(0, text.find('\0'));
  text.remove_prefix(std::min(text.size(), part.size() + 1));
  return part;
}

std::vector<std::string> documents(std::string_view text) {
  constexpr std::size_t kMost = 8;
  std::vector<std::string> all;
  while (!text.empty() && all.size() < kMost) {
    const std::string_view part = take(text);
    std::string& document = all.emplace_back();
    for (std::size_t i = 0; i < part.size(); ++i) {
      const bool refers = part[i] == '@' && i + 2 < part.size() && part[i + 2] >= '0' &&
                          static_cast<std::size_t>(part[i + 2] - '0') + 1 < all.size();
      const std::string* other = refers ? &all[static_cast<std::size_t>(part[i + 2] - '0')] : nullptr;
      if (refers && part[i + 1] == 'D')
        document += Digest::of(as_bytes(*other)).to_string(), i += 2;
      else if (refers && part[i + 1] == 'S')
        document += std::to_string(other->size()), i += 2;
      else
        document += part[i];
    }
  }
  return all;
}

// That a document which was understood means the same when it is written again, and is then written the same.
template <typename Document>
void rewrite(std::string_view json, std::string_view media_type) {
  const auto parsed = Document::parse(as_bytes(json), media_type);
  if (!parsed) return;
  const std::string text = parsed->to_json();
  const auto again = must(Document::parse(as_bytes(text), media_type), "a document of ours is understood");
  require(again == *parsed, "a document, written again, means the same");
  require(again.to_json() == text, "a document is written the same every time");
}

void config(std::string_view json) {
  const auto parsed = oci::ImageConfig::parse(as_bytes(json));
  if (!parsed) return;
  require(oci::chain_ids(parsed->diff_ids()).size() == parsed->diff_ids().size(), "a chain id for every layer");
  std::vector<Digest> ids = parsed->diff_ids();
  ids.push_back(Digest::of({}));
  const auto again =
      must(oci::ImageConfig::parse(as_bytes(parsed->with_diff_ids(ids))), "a changed config is understood");
  require(again.diff_ids() == ids && again.platform() == parsed->platform(), "a config changes in its diff ids alone");
  const auto more = parsed->with_layers(std::vector<oci::LayerOrigin>{{Digest::of({}), "a command", "a comment"}});
  require(more.diff_ids() == ids, "a layer more is a diff id more");
  const auto fewer = more.with_lowest_layers(parsed->diff_ids().size());
  require(must(oci::ImageConfig::parse(as_bytes(fewer.json())), "a config of fewer layers is understood").diff_ids() ==
              parsed->diff_ids(),
          "a layer that comes goes");
  const auto changed = parsed->with_changes({.env = {{"NAME", "value"}}, .cmd = std::vector<std::string>{"x"}});
  if (changed) must(oci::ImageConfig::parse(as_bytes(changed->json())), "a config that was changed is understood");
}

class MemoryTree final : public oci::FileTree {
 public:
  Result<SharedBlob> open(std::string_view name) const override {
    const auto found = files.find(name);
    if (found == files.end()) return Error::not_found("no {}", name);
    return found->second;
  }
  bool contains(std::string_view name) const override { return files.contains(name); }

  std::map<std::string, SharedBlob, std::less<>> files;
};

SharedBlob blob_of(std::string_view text) {
  const auto bytes = as_bytes(text);
  return std::make_shared<MemoryBlob>(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

void select_all(const oci::ImageSource& source) {
  for (const bool all : {false, true}) {
    for (const bool for_conversion : {false, true}) {
      const auto selection = oci::select(source, {.platform = {}, .all = all, .for_conversion = for_conversion});
      if (!selection) continue;
      require(!selection->images.empty() && (all || selection->images.size() == 1), "as many images as asked for");
      for (const oci::SelectedImage& image : selection->images) {
        require(image.manifest.layers.size() == image.config.diff_ids().size(), "a diff id for every layer");
        must(oci::read_document(source, image.descriptor, oci::kManifestLimit), "a selected manifest is there");
        for (const oci::Descriptor& layer : image.manifest.layers) {
          const auto blob = source.open_blob(layer);
          require(!blob || (*blob)->size() == layer.size, "a blob is as large as its descriptor says");
        }
      }
    }
  }
}

oci::Reference reference_to(std::string_view tag) {
  const auto parsed = oci::parse_reference("oci:x:" + std::string(tag));
  return parsed ? *parsed : oci::Reference{};
}

void layout(std::string_view tag, const std::vector<std::string>& all) {
  auto tree = std::make_unique<MemoryTree>();
  tree->files.emplace(oci::kLayoutFile, blob_of(oci::kLayoutContent));
  for (const std::string& document : all)
    tree->files.insert_or_assign(oci::blob_path(Digest::of(as_bytes(document))), blob_of(document));
  tree->files.insert_or_assign(oci::kIndexFile, blob_of(all.back()));
  const auto source = oci::open_layout(std::move(tree), reference_to(tag));
  if (source) select_all(**source);
}

void docker_archive(std::string_view tag, const std::vector<std::string>& all) {
  fs::TarBuilder tar;
  for (std::size_t i = 0; i + 1 < all.size(); ++i) tar.file(std::to_string(i), all[i]);
  tar.file(oci::kDockerArchiveFile, all.back());
  auto tree = must(oci::TarTree::open(std::make_shared<MemoryBlob>(tar.finish())), "an archive opens");
  const auto source = oci::open_docker_archive(std::move(tree), reference_to(tag));
  if (source) select_all(**source);
}

void runtime_config(std::string_view json) {
  const UniqueFd fd(::memfd_create("config", MFD_CLOEXEC));
  require(fd && ::write(fd.get(), json.data(), json.size()) == static_cast<ssize_t>(json.size()), "a file is written");
  const auto config = RuntimeConfig::load("/proc/self/fd/" + std::to_string(fd.get()));
  if (!config) return;
  require(!config->lowers.empty() || config->upper, "a device has layers");
  for (const auto& lower : config->lowers) require(!lower.file.empty(), "a lower is a file");
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi;
  fuzz::Input input(data, size);
  const char kind = static_cast<char>(input.byte());
  std::string_view text = as_text(input.rest());
  const std::string_view tag = fuzz::take(text);
  const auto all = fuzz::documents(text);
  if (all.empty()) return 0;
  if (kind == 'm') fuzz::rewrite<oci::Manifest>(all.back(), tag);
  if (kind == 'i') fuzz::rewrite<oci::Index>(all.back(), tag);
  if (kind == 'c') fuzz::config(all.back());
  if (kind == 'l') fuzz::layout(tag, all);
  if (kind == 'd') fuzz::docker_archive(tag, all);
  if (kind == 'r') fuzz::runtime_config(all.back());
  return 0;
}
