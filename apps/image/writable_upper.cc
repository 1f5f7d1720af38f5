#include "apps/image/writable_upper.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

#include "libformat/base/bytes.h"
#include "libformat/blob/disk_folder.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

constexpr auto kImageName = "image.json";
constexpr Bytes kImageLimit{64U << 20};  // a manifest and a config may be in it

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

Result<std::unique_ptr<lsmt::WritableLayer>> make(const std::filesystem::path& folder, const UpperOptions& options,
                                                  std::shared_ptr<const runtime::ImageDevice> image) {
  DADI_TRY(auto files, DiskFolder::open(folder));
  if (options.image) {
    const std::string text = to_json(*options.image).dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
    DADI_CHECK(files->replace(kImageName, as_bytes(text + "\n")));
  }
  DADI_TRY(const lsmt::Uuid name, new_name());
  const lsmt::LayerInfo info{
      .virtual_size = options.virtual_size, .uuid = name, .parent = image->top().uuid, .user_tag = {}};
  return lsmt::WritableLayer::create(std::move(files), options.form, info, std::move(image), {.limit = options.limit});
}

// A change to one image makes no sense on another.
Result<void> check_parent(const lsmt::LayerInfo& layer, const lsmt::LayerInfo& image) {
  if (layer.parent.is_null() || layer.parent == image.uuid) return {};
  return Error::invalid_argument("its writable layer was made on top of {}, but the image's top layer is {}",
                                 layer.parent.to_string(), image.uuid.to_string())
      .with_hint("serve the image that it was made on, or name another folder");
}

}  // namespace

Result<ImagePlace> image_below(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kImageName;
  DADI_TRY(const auto file, FileBlob::open(path));
  if (file->size() > kImageLimit) return Error::corruption("{} is larger than such a file may be", path.string());
  DADI_TRY(const auto text, read_range(*file, {0}, file->size()));
  const auto json = nlohmann::ordered_json::parse(as_text(text), nullptr, /*allow_exceptions=*/false);
  return image_place_of(json).context("{}", path.string());
}

Result<WritableUpper> WritableUpper::open(const UpperOptions& options,
                                          std::shared_ptr<const runtime::ImageDevice> image, const Notes& notes) {
  WritableUpper upper;
  std::filesystem::path folder = options.folder;
  if (folder.empty()) {
    DADI_TRY(folder, temporary_folder());
    upper.temporary_ = folder;
  }
  DADI_TRY(auto files, DiskFolder::open(folder));
  auto layer = lsmt::WritableLayer::open(std::move(files), image, {.limit = options.limit});
  if (!layer && layer.error().code() == ErrorCode::kNotFound && options.make) layer = make(folder, options, image);
  if (!layer) return std::move(layer.error()).context("{}", folder.string());
  DADI_CHECK(check_parent((*layer)->info(), image->top()).context("{}", folder.string()));
  for (const std::string& note : (*layer)->notes()) notes(fmt::format("{}: {}", folder.string(), note));
  upper.layer_ = std::move(*layer);
  return upper;
}

WritableUpper::~WritableUpper() {
  std::error_code ignored;
  if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
}

}  // namespace dadi
