// What a folder of writable layers says of itself, in its file image.json.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "apps/image/image_place.h"
#include "libformat/blob/writable_file.h"

namespace dadi {

inline constexpr auto kThisFolder = ".";

// A value type.
struct WritablePlace {
  ImagePlace image;  // that the layers lie on
  std::vector<std::string> layers{
      kThisFolder};  // where each is, bottom first: the folder itself, or "layer-N" within it
};

// Errors: not_found (the folder, or nothing of the kind in it), corruption, denied, io.
Result<WritablePlace> read_writable_place(const std::filesystem::path& folder);

// In place of what was said before, durably.
Result<void> write_writable_place(WritableFolder& folder, const WritablePlace& place);

// Whether a layer within a folder may be called so: layer-N.
bool is_layer_name(std::string_view name);
// For one that is to lie on top of all others.
std::string next_layer_name(const WritablePlace& place);

}  // namespace dadi
