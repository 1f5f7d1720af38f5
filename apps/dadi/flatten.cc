// dadi flatten SRC DST
#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/new_image.h"
#include "apps/image/image_device.h"

namespace dadi {
namespace {

struct FlattenCommand {
  ImageOptions source;
  NewImageOptions image;
};

Result<void> flatten(Session& session, const FlattenCommand& command) {
  DADI_TRY(const oci::Reference from, parse_image_reference(session, command.source.reference));
  DADI_TRY(ImageReach reach, image_reach(session, command.source));
  reach.lazy.replay = false;  // all of it is read anyway, in order
  runtime::WorkerPool computing("decompress", command.image.jobs);
  runtime::DeviceOptions device_options;
  device_options.computing = &computing;
  DADI_TRY(const OpenImage source,
           open_image_device(from, command.source.platform, reach, std::move(device_options), session.read_context(),
                             [&session](std::string_view text) { session.note(text); }));
  if (!source.stored)
    return Error::unsupported("block layers without a manifest and a config")
        .with_hint("dadi export {} disk.img and dadi import disk.img DST make an image of them", from.to_string());
  const oci::SelectedImage& base = source.stored->image;

  DADI_TRY(NewImage image, NewImage::open(session, command.image, reach.registry, nullptr));
  const pipeline::DeviceLayerOptions layer_options{
      .parent = {}, .message = {}, .family = oci::family_of(base.manifest.media_type)};
  DADI_TRY(auto layer,
           image.write_layer(*source.device, nullptr, pipeline::all_sectors(*source.device), layer_options));
  if (!layer) return Error::unsupported("the device holds nothing but zeros");
  CopyProgress observer(session);
  const pipeline::Derivation derivation{.layers_kept = 0,
                                        .added = {{.descriptor = layer->descriptor, .created_by = "dadi flatten"}}};
  DADI_TRY(const auto derived, pipeline::derive_image(*source.stored->source, base, image.destination(), derivation,
                                                      observer, session.stop()));
  return image.publish(derived.manifest, layer, derived.copied);
}

}  // namespace

void add_flatten(CommandLine& line, Session& session) {
  auto& options = session.keep<FlattenCommand>();
  auto command = line.add("flatten", "Make one layer of all layers of a converted image",
                          "dadi flatten oci:debian-dadi oci:debian-flat\n"
                          "dadi flatten --compression zstd --block-size 16K oci:debian-dadi oci:debian-small");
  add_image_options(command, options.source);
  add_new_image_options(command, options.image);
  command.run([&] { session.finish(flatten(session, options).context("flatten {}", options.source.reference)); });
}

}  // namespace dadi
