#include "apps/image/writable_upper.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "libformat/blob/disk_folder.h"

namespace dadi {
namespace {

using lsmt::WritableLayer;
using lsmt::WritableStack;

// A name for a new layer, of which there is no other: a random uuid, version 4.
Result<lsmt::Uuid> new_name() {
  lsmt::Uuid uuid;
  if (::getrandom(uuid.raw.data(), uuid.raw.size(), 0) != static_cast<ssize_t>(uuid.raw.size()))
    return Error::from_errno(errno, "getrandom");
  uuid.raw[6] = (uuid.raw[6] & std::byte{0x0F}) | std::byte{0x40};
  uuid.raw[8] = (uuid.raw[8] & std::byte{0x3F}) | std::byte{0x80};
  return uuid;
}

Result<std::filesystem::path> temporary_folder() {
  std::string pattern = std::filesystem::temp_directory_path() / "dadi-writable-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) return Error::from_errno(errno, pattern);
  return std::filesystem::path(pattern);
}

// A change to one image makes no sense on another.
Result<void> check_parent(const lsmt::LayerInfo& layer, const lsmt::LayerInfo& image,
                          const std::filesystem::path& folder) {
  if (layer.parent.is_null() || layer.parent == image.uuid) return {};
  const auto place = read_writable_place(folder);
  return Error::invalid_argument("its writable layer was made on top of {}, but the image's top layer is {}",
                                 layer.parent.to_string(), image.uuid.to_string())
      .with_hint("serve the image that it was made on{}, or name another folder",
                 place ? ", " + place->image.reference.to_string() : "");
}

// What a folder without a word holds is one layer, on whatever image is named with it.
Result<std::vector<std::string>> layers_in(const std::filesystem::path& folder) {
  const auto place = read_writable_place(folder);
  if (!place && place.error().code() == ErrorCode::kNotFound) return WritablePlace{}.layers;
  if (!place) return place.error();
  return place->layers;
}

// Who has them open has them still.
void remove_layer(const std::filesystem::path& folder) {
  std::error_code ignored;
  for (const auto file : {lsmt::kDataName, lsmt::kIndexName, lsmt::kDiscardsName, lsmt::kFlushesName})
    std::filesystem::remove(folder / file, ignored);
}

}  // namespace

// ---- Opening ----

Result<std::shared_ptr<WritableFolder>> WritableUpper::folder_of(const std::string& name) const {
  if (name == kThisFolder) return folder_;
  DADI_TRY(auto folder, DiskFolder::open(path_ / name));
  return std::shared_ptr<WritableFolder>(std::move(folder));
}

Result<std::vector<WritableStack::Layer>> WritableUpper::open_layers(const std::vector<std::string>& names,
                                                                     std::shared_ptr<const BlockReader> below) const {
  std::vector<WritableStack::Layer> layers;
  for (const std::string& name : names) {
    DADI_TRY(auto folder, folder_of(name));
    DADI_TRY(layers.emplace_back(), WritableLayer::open(std::move(folder), below, {.limit = limit_}));
    below = layers.back();
  }
  return layers;
}

Result<WritableStack::Layer> WritableUpper::make(const UpperOptions& options,
                                                 std::shared_ptr<const runtime::ImageDevice> image) const {
  if (options.image) DADI_CHECK(write_writable_place(*folder_, {.image = *options.image}));
  DADI_TRY(const lsmt::Uuid name, new_name());
  const lsmt::LayerInfo info{
      .virtual_size = options.virtual_size, .uuid = name, .parent = image->top().uuid, .user_tag = {}};
  DADI_TRY(auto layer, WritableLayer::create(folder_, options.form, info, std::move(image), {.limit = limit_}));
  return WritableStack::Layer(std::move(layer));
}

Result<WritableUpper> WritableUpper::open(const UpperOptions& options,
                                          std::shared_ptr<const runtime::ImageDevice> image, const Notes& notes) {
  WritableUpper upper;
  upper.limit_ = options.limit;
  upper.path_ = options.folder;
  if (upper.path_.empty()) {
    DADI_TRY(upper.path_, temporary_folder());
    upper.temporary_ = upper.path_;
  }
  const std::string folder = upper.path_.string();
  DADI_TRY(upper.folder_, DiskFolder::open(upper.path_));
  DADI_TRY(const auto names, layers_in(upper.path_));
  auto layers = upper.open_layers(names, image);
  if (!layers && layers.error().code() == ErrorCode::kNotFound && options.make && names == WritablePlace{}.layers) {
    layers = std::vector<WritableStack::Layer>();
    DADI_TRY(layers->emplace_back(), upper.make(options, image).context("{}", folder));
  }
  if (!layers) return std::move(layers.error()).context("{}", folder);
  for (const auto& layer : *layers) {
    for (const std::string& note : layer->notes()) notes(fmt::format("{}: {}", folder, note));
  }
  DADI_CHECK(check_parent(layers->front()->info(), image->top(), upper.path_).context("{}", folder));
  upper.remove_others(names);
  upper.stack_ = std::make_shared<WritableStack>(std::move(*layers));
  return upper;
}

WritableUpper::~WritableUpper() {
  std::error_code ignored;
  if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
}

// ---- Going on ----

Result<void> WritableUpper::go_on_in(const std::string& name) {
  DADI_TRY(WritablePlace place, read_writable_place(path_));
  if (!is_layer_name(name) || std::ranges::count(place.layers, name) > 0)
    return Error::invalid_argument("\"{}\" is no name for another layer", name);
  return stack_->put_on_top([&](std::shared_ptr<const BlockReader> below) -> Result<WritableStack::Layer> {
    DADI_TRY(auto folder, folder_of(name));
    DADI_TRY(WritableStack::Layer layer,
             WritableLayer::open(std::move(folder), std::move(below), {.limit = limit_}).context("layer {}", name));
    place.layers.push_back(name);
    DADI_CHECK(write_writable_place(*folder_, place));
    return layer;
  });
}

Result<void> WritableUpper::put_on_image(const std::string& name, const ImagePlace& image) {
  DADI_TRY(WritablePlace place, read_writable_place(path_));
  const auto layer = std::ranges::find(place.layers, name);
  if (layer == place.layers.end() || layer == place.layers.begin()) return {};
  place.layers.erase(place.layers.begin(), layer);
  place.image = image;
  DADI_CHECK(write_writable_place(*folder_, place));
  remove_others(place.layers);
  return {};
}

// What a layer that is none of these has left, or one that never became one.
void WritableUpper::remove_others(const std::vector<std::string>& names) const {
  if (std::ranges::count(names, kThisFolder) == 0) remove_layer(path_);
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(path_, ignored)) {
    const std::string name = entry.path().filename();
    if (!is_layer_name(name) || !entry.is_directory(ignored) || std::ranges::count(names, name) > 0) continue;
    remove_layer(entry.path());
    std::filesystem::remove(entry.path(), ignored);  // only if nothing else is in it
  }
}

Result<std::unique_ptr<WritableLayer>> make_next_layer(const std::filesystem::path& folder, lsmt::WritableForm form,
                                                       const lsmt::Uuid& parent,
                                                       std::shared_ptr<const BlockReader> below) {
  DADI_TRY(auto files, DiskFolder::open(folder));
  DADI_TRY(const lsmt::Uuid name, new_name());
  const lsmt::LayerInfo info{.virtual_size = to_bytes(below->size()), .uuid = name, .parent = parent, .user_tag = {}};
  return WritableLayer::create(std::move(files), form, info, std::move(below), {});
}

}  // namespace dadi
