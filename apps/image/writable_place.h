// What a folder of writable layers says of itself, in its file image.json.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "apps/image/image_place.h"
#include "libformat/blob/writable_file.h"
#include "libformat/lsmt/uuid.h"

namespace dadi {

inline constexpr auto kThisFolder = ".";

inline constexpr std::size_t kMostWritableLayers = 64;  // on each other

// A value type.
struct WritablePlace {
  ImagePlace image;  // that the layers lie on
  std::vector<std::string> layers{
      kThisFolder};                       // where each is, bottom first: the folder itself, or "layer-UUID" in it
  std::vector<std::string> dropped = {};  // what were layers once, and may be there still
};

// Errors: not_found (the folder, or nothing of the kind in it), corruption, denied, io.
Result<WritablePlace> read_writable_place(const std::filesystem::path& folder);

// In place of what was said before, durably.
Result<void> write_writable_place(WritableFolder& folder, const WritablePlace& place);

// How a layer within a folder is called: there is no other of that name anywhere.
std::string layer_name(const lsmt::Uuid& uuid);
bool is_layer_name(std::string_view name);

}  // namespace dadi
