// dadi commit DIR DST
#include "apps/dadi/commands.h"
#include "apps/dadi/commit_layer.h"
#include "apps/dadi/config_options.h"
#include "apps/dadi/registry_options.h"
#include "apps/image/writable_upper.h"

namespace dadi {
namespace {

struct CommitCommand {
  std::string folder;
  std::string message;
  unsigned squash = 0;
  ConfigWords config;
  NewImageOptions image;
  RegistryOptions registry;
};

Result<ImagePlace> place_of_image(const std::string& folder) {
  auto place = image_below(folder);
  if (!place && place.error().code() == ErrorCode::kNotFound)
    return std::move(place).error().with_hint("what is committed is a folder of `dadi serve --writable=DIR`");
  return place;
}

Result<void> commit(Session& session, const CommitCommand& command) {
  CommitOptions options{.message = command.message, .config = {}, .squash = command.squash};
  DADI_TRY(options.config, parse_config_changes(command.config));
  DADI_TRY(ImagePlace place, place_of_image(command.folder));
  place.reach.registry.stop = session.stop();
  place.reach.lazy.replay = false;
  const auto note = [&session](std::string_view text) { session.note(text); };
  DADI_TRY(const OpenImage below,
           open_image_device(place.reference, place.platform, place.reach, {}, session.read_context(), note)
               .context("{}", place.reference.to_string()));
  auto upper = WritableUpper::open({.folder = command.folder, .make = false}, below.device, note);
  if (!upper && upper.error().code() == ErrorCode::kBusy)
    return std::move(upper).error().with_hint("stop what serves it first");
  if (!upper) return std::move(upper).error();
  DADI_TRY(NewImage image,
           NewImage::open(session, command.image, registry_access(session, command.registry), &place.reference));
  return commit_layer(session, below, *upper->layer(), image, options);
}

}  // namespace

void add_commit(CommandLine& line, Session& session) {
  auto& options = session.keep<CommitCommand>();
  auto command = line.add("commit", "Make an image of what was written to one: a layer on top of its own",
                          "dadi commit changes oci:debian-changed\n"
                          "dadi commit changes oci:debian-motd -m 'a new motd' --env LANG=C.UTF-8");
  command.argument("DIR", options.folder, "The folder of the writable layer: see serve --writable=DIR");
  add_new_image_options(command, options.image);
  command.option("-m,--message", options.message, "MESSAGE", "Why, for the layer and the image's history")
      .option("--squash", options.squash, "N", "Make one layer of the new one and the N topmost of the image");
  add_config_options(command, options.config);
  add_registry_options(command, options.registry);
  command.run([&] { session.finish(commit(session, options).context("commit {}", options.folder)); });
}

}  // namespace dadi
