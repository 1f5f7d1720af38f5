// Whose the bytes are that a trace reads: from places in layers to files of the image.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/dadi/block_image.h"
#include "apps/image/traced_places.h"
#include "libfs/ext4/file_map.h"

namespace dadi {

// The files of one image. Thread-safe.
class TracedFiles {
 public:
  // Errors: those of open_block_image() and of FileMap::make().
  static Result<TracedFiles> open(Session& session, const ImageOptions& options);

  struct Piece {
    std::string_view file;    // its path; what belongs to no file has a name in parentheses, which no path has
    std::optional<Bytes> at;  // on the device; none for what is not there
    Bytes size{};
  };
  // Divides a read into pieces that are contiguous and of one file, in order. Names live as long as this.
  void visit(const trace::Read& read, const std::function<void(const Piece&)>& visitor) const;

  // What layers are called, bottom first: "layer 2 (sha256:ab12cd34ef56)", or its file.
  const std::vector<std::string>& layers() const { return layers_; }

 private:
  TracedFiles(std::vector<std::string> layers, TracedPlaces places, fs::FileMap map)
      : layers_(std::move(layers)), places_(std::move(places)), map_(std::move(map)) {}

  std::vector<std::string> layers_;
  TracedPlaces places_;
  fs::FileMap map_;
};

}  // namespace dadi
