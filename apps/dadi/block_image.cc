#include "apps/dadi/block_image.h"

namespace dadi {
namespace {

Notes notes_of(Session& session) {
  return [&session](std::string_view text) { session.note(text); };
}

}  // namespace

void add_image_options(Command& command, ImageOptions& options) {
  command
      .argument("REF", options.reference,
                "Image: docker://HOST/REPO:TAG, oci:DIR[:TAG], oci-archive:FILE, layers:FILE,… or config:FILE")
      .option("--platform", options.platform, "OS/ARCH", "Which of an index's images, as in linux/arm64");
  add_registry_options(command, options.registry);
  add_lazy_options(command, options.lazy);
}

Result<ImageReach> image_reach(const Session& session, const ImageOptions& options) {
  ImageReach reach{.registry = registry_access(session, options.registry), .lazy = {}};
  reach.registry.read_time = std::chrono::seconds(options.lazy.read_time);
  DADI_TRY(reach.lazy, parse_lazy_options(options.lazy));
  return reach;
}

Result<oci::Reference> parse_image_reference(Session& session, const std::string& text) {
  DADI_TRY(oci::Reference reference, oci::parse_reference(text));
  if (reference.guessed) session.note(fmt::format("{} is taken for {}", text, reference.to_string()));
  return reference;
}

Result<StoredImage> open_stored_image(Session& session, const oci::Reference& reference, const ImageOptions& options) {
  const registry::Access access = registry_access(session, options.registry);
  return open_stored_image(reference, options.platform, notes_of(session), access);
}

Result<BlockImage> open_block_image(Session& session, const ImageOptions& options) {
  DADI_TRY(const oci::Reference reference, parse_image_reference(session, options.reference));
  DADI_TRY(const ImageReach reach, image_reach(session, options));
  DADI_TRY(FoundImage found, find_block_image(reference, options.platform, notes_of(session), reach));
  DADI_TRY(BlockImage image, open_block_image(std::move(found), session.read_context()));
  if (image.lazy) session.detail(image.lazy->opening());
  return image;
}

Result<std::shared_ptr<const lsmt::StackReader>> open_device(Session& session, const ImageOptions& options) {
  DADI_TRY(BlockImage image, open_block_image(session, options));
  return stack(std::move(image.layers));
}

}  // namespace dadi
