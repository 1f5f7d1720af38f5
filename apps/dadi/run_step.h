// A command that runs in an image, and the layer that it makes.
#pragma once

#include <optional>
#include <string>

#include "apps/dadi/image_so_far.h"
#include "apps/dadi/session.h"
#include "libconvert/oci/config.h"
#include "libconvert/pipeline/compression_workers.h"
#include "libconvert/pipeline/device_layer.h"

namespace dadi {

struct RunStep {
  std::string command;        // for the image's /bin/sh
  bool host_network = false;  // else it has none
  std::string dadid;          // the program that serves the device; empty: the one beside this
  std::string message;        // the layer's user tag
};

// Attaches the image with a writable layer, runs the command in it as its root, with environment and folder from
// `config`, unmounts it, and writes what has changed as a layer into `destination`. What the command says goes to
// standard error. None: nothing has changed, the file system's own notes of having been mounted aside. Nothing stays
// attached, whatever happens. For root.
// Errors: io (the command failed; its exit status is named), those of ContainedCommand, of attach() and detach(), and
// of write_device_layer(); cancelled.
Result<std::optional<pipeline::DeviceLayer>> run_step(Session& session, const ImageSoFar& image,
                                                      const oci::ImageConfig& config, const RunStep& step,
                                                      oci::Family family, oci::ImageDestination& destination,
                                                      pipeline::CompressionWorkers& workers);

}  // namespace dadi
