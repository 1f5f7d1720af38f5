#include "apps/dadid/served_image.h"

#include "apps/image/image_device.h"
#include "apps/image/writable_place.h"
#include "libformat/blob/file_blob.h"
#include "libformat/lsmt/header.h"
#include "libformat/lsmt/writable_layer.h"

namespace dadi {

Result<ImagePlace> served_image(const attach::DeviceFolder& folder, const attach::DeviceSpec& spec) {
  if (spec.writable && folder.state()) {
    auto place = read_writable_place(spec.writable->folder);
    if (place) return std::move(place->image);
    if (place.error().code() != ErrorCode::kNotFound) return place.error();
  }
  ImagePlace place{.reference = {}, .platform = spec.platform, .reach = {}};
  DADI_TRY(place.reference, oci::parse_reference(spec.reference));
  DADI_TRY(place.reach, reach_of(spec));
  return place;
}

Result<Bytes> size_of_layers(const attach::WritableSpec& spec) {
  const std::filesystem::path folder = spec.folder;
  const auto place = read_writable_place(folder);
  if (!place && place.error().code() != ErrorCode::kNotFound) return place.error();
  const std::string top = place ? place->layers.back() : kThisFolder;
  DADI_TRY(const auto data, FileBlob::open(folder / top / lsmt::kDataName));
  DADI_TRY(const auto raw, read_range(*data, {0}, {lsmt::kHeaderSize}));
  DADI_TRY(const lsmt::Header header, lsmt::decode_header(raw));
  return header.info.virtual_size;
}

}  // namespace dadi
