// Opening the layers of an image, several at once.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "libformat/layer_file.h"

namespace dadi::runtime {

struct DeviceLayer {
  std::string name;  // what errors call it: "layer 2 (sha256:ab12cd34ef56)", or its file
  // A stored blob in any legal form; or a layer that is open already, such as the writable one of a config file.
  std::variant<SharedBlob, lsmt::LayerReader> content;
};

// Opens those that are not open yet, in as many threads as are worth it, the caller's among them. The first failure
// ends the others' work, as context.stop does. Errors: those of open_layer_file(), the layer named.
Result<std::vector<LayerFile>> open_layers(std::vector<DeviceLayer>& layers, const ReadContext& context);

}  // namespace dadi::runtime
