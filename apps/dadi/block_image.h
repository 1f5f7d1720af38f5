// What the commands that look into an image share: REF and --platform, and what they stand for.
#pragma once

#include <memory>
#include <string>

#include "apps/dadi/command_line.h"
#include "apps/dadi/lazy_options.h"
#include "apps/dadi/registry_options.h"
#include "apps/dadi/session.h"
#include "apps/image/block_image.h"

namespace dadi {

// Which image is meant.
struct ImageOptions {
  std::string reference;
  std::string platform;  // empty: this machine's
  RegistryOptions registry;
  LazyWords lazy;
};

// REF, --platform, and how registries are reached and read.
void add_image_options(Command& command, ImageOptions& options);

// With the session's wish to stop. Errors: invalid_argument.
Result<ImageReach> image_reach(const Session& session, const ImageOptions& options);

// Parses the reference, saying on stderr what a bare path was taken for.
Result<oci::Reference> parse_image_reference(Session& session, const std::string& text);

// open_stored_image() and open_block_image() of apps/image, with notes that go to the session.
Result<StoredImage> open_stored_image(Session& session, const oci::Reference& reference, const ImageOptions& options);
Result<BlockImage> open_block_image(Session& session, const ImageOptions& options);

// The whole way, for commands that need nothing but the device.
Result<std::shared_ptr<const lsmt::StackReader>> open_device(Session& session, const ImageOptions& options);

}  // namespace dadi
