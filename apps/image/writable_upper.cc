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
Result<WritablePlace> place_in(const std::filesystem::path& folder) {
  auto place = read_writable_place(folder);
  if (place || place.error().code() != ErrorCode::kNotFound) return place;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (is_layer_name(entry.path().filename().string()))
      return Error::corruption("it has {}, but no image.json, which says what that lies on",
                               entry.path().filename().string());
  }
  return WritablePlace{};
}

Result<std::uint64_t> random_number() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) return Error::from_errno(errno, "getrandom");
  return number;
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
  DADI_TRY(const WritablePlace place, place_in(upper.path_).context("{}", folder));
  auto layers = upper.open_layers(place.layers, image);
  if (!layers && layers.error().code() == ErrorCode::kNotFound && options.make &&
      place.layers == WritablePlace{}.layers) {
    layers = std::vector<WritableStack::Layer>();
    DADI_TRY(layers->emplace_back(), upper.make(options, image).context("{}", folder));
  }
  if (!layers) return std::move(layers.error()).context("{}", folder);
  for (const auto& layer : *layers) {
    for (const std::string& note : layer->notes()) notes(fmt::format("{}: {}", folder, note));
  }
  DADI_CHECK(check_parent(layers->front()->info(), image->top(), upper.path_).context("{}", folder));
  upper.remove(place.dropped);
  DADI_TRY(const std::uint64_t begin, random_number());
  upper.stack_ = std::make_shared<WritableStack>(std::move(*layers), begin);
  return upper;
}

WritableUpper::~WritableUpper() {
  std::error_code ignored;
  if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
}

// ---- Going on ----

Result<void> WritableUpper::go_on_in(const std::string& name, std::uint64_t changes) {
  DADI_TRY(const WritablePlace before, read_writable_place(path_));
  if (!is_layer_name(name) || std::ranges::count(before.layers, name) > 0)
    return Error::invalid_argument("\"{}\" is no name for another layer", name);
  if (before.layers.size() >= kMostWritableLayers || stack_->depth() >= kMostWritableLayers)
    return Error::exhausted("it has gone on in a fresh layer {} times", stack_->depth() - 1)
        .with_hint("`dadi upgrade`, or detach and attach it again: then it begins with one");
  const auto open = [&](std::shared_ptr<const BlockReader> below) -> Result<WritableStack::Layer> {
    DADI_TRY(auto folder, folder_of(name));
    DADI_TRY(auto layer,
             WritableLayer::open(std::move(folder), std::move(below), {.limit = limit_}).context("{}", name));
    return WritableStack::Layer(std::move(layer));
  };
  const auto publish = [&]() -> Result<void> {
    WritablePlace place = before;
    place.layers.push_back(name);
    auto written = write_writable_place(*folder_, place);
    // It may be there in spite of that. Who opens the folder later must find what is true now.
    if (written || !write_writable_place(*folder_, before)) return {};
    return written;
  };
  DADI_CHECK(stack_->put_on_top(changes, open, publish));
  went_on_in_.push_back(name);
  return {};
}

Result<void> WritableUpper::put_on_image(const std::string& name, const ImagePlace& image) {
  if (std::ranges::count(went_on_in_, name) == 0) return Error::not_found("it never went on in {}", name);
  DADI_TRY(WritablePlace place, read_writable_place(path_));
  const auto layer = std::ranges::find(place.layers, name);
  if (layer == place.layers.end() || layer == place.layers.begin()) return {};
  place.dropped.assign(place.layers.begin(), layer);
  place.layers.erase(place.layers.begin(), layer);
  place.image = image;
  DADI_CHECK(write_writable_place(*folder_, place));
  remove(place.dropped);
  return {};
}

void WritableUpper::remove(std::span<const std::string> dropped) const {
  for (const std::string& name : dropped) {
    if (name == kThisFolder)
      remove_layer(path_);
    else
      remove_next_layer(path_, name);
  }
}

void remove_next_layer(const std::filesystem::path& folder, const std::string& name) {
  std::error_code failed;
  if (!std::filesystem::is_directory(std::filesystem::symlink_status(folder / name, failed))) return;
  remove_layer(folder / name);
  std::filesystem::remove(folder / name, failed);  // only if nothing else is in it
}

Result<std::unique_ptr<WritableLayer>> make_next_layer(const std::filesystem::path& folder, lsmt::WritableForm form,
                                                       const lsmt::Uuid& parent,
                                                       std::shared_ptr<const BlockReader> device) {
  DADI_TRY(const lsmt::Uuid name, new_name());
  DADI_TRY(auto files, DiskFolder::open(folder / layer_name(name)));
  const lsmt::LayerInfo info{.virtual_size = to_bytes(device->size()), .uuid = name, .parent = parent, .user_tag = {}};
  return WritableLayer::create(std::move(files), form, info, std::move(device), {});
}

}  // namespace dadi
