// dadi copy SRC DST, dadi push SRC DST, dadi pull SRC DST
#include "libconvert/pipeline/copy.h"

#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/new_image.h"
#include "libconvert/registry/image_store.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

using Kind = oci::Reference::Kind;

struct CopyCommand {
  std::string source;
  std::string destination;
  std::string platform;
  bool all_platforms = false;
  std::string digest_file;
  RegistryOptions registry;
};

Result<void> run_copy(Session& session, const CopyCommand& command, const oci::Reference& from,
                      const oci::Reference& to) {
  pipeline::CopyOptions options{.platform = {}, .all = command.all_platforms, .trace = {}, .stop = session.stop()};
  if (!command.platform.empty()) {
    if (command.all_platforms) return Error::invalid_argument("--platform and --all-platforms exclude each other");
    DADI_TRY(options.platform, oci::parse_platform(command.platform));
  }
  registry::Access access = registry_access(session, command.registry);
  DADI_TRY(const auto source, registry::open_source(from, access));
  if (from.kind == Kind::kRegistry && from.host == to.host && from.repository != to.repository)
    access.mount_from = from.repository;
  DADI_TRY(const auto destination, registry::open_destination(to, access).context("{}", to.to_string()));
  CopyProgress observer(session);
  DADI_TRY(const pipeline::CopyResult result, pipeline::copy(*source, *destination, options, observer));
  const std::string digest = result.root.digest.to_string();
  if (!command.digest_file.empty()) {
    DADI_CHECK(replace_file(command.digest_file, as_bytes(digest + "\n")));
  }
  if (session.options.json) {
    session.answer({{"reference", to.to_string()},
                    {"digest", digest},
                    {"media_type", result.root.media_type},
                    {"blobs_copied", result.blobs.blobs_copied},
                    {"blobs_there", result.blobs.blobs_there},
                    {"bytes_copied", result.blobs.bytes_copied.value}});
  } else {
    session.out().print("{}\n", digest);
  }
  return {};
}

Result<void> run(Session& session, const CopyCommand& command, bool push, bool pull) {
  DADI_TRY(const oci::Reference from, parse_image_reference(session, command.source));
  DADI_TRY(const oci::Reference to, oci::parse_reference(command.destination));
  if (push && to.kind != Kind::kRegistry)
    return Error::invalid_argument("{} is not on a registry", to.to_string())
        .with_hint("dadi copy SRC DST goes anywhere");
  if (pull && from.kind != Kind::kRegistry)
    return Error::invalid_argument("{} is not on a registry", from.to_string())
        .with_hint("dadi copy SRC DST comes from anywhere");
  return run_copy(session, command, from, to);
}

void add(CommandLine& line, Session& session, const std::string& name, const std::string& description,
         const std::string& examples) {
  auto& options = session.keep<CopyCommand>();
  auto command = line.add(name, description, examples);
  command.argument("SRC", options.source, "Image, as in docker://HOST/REPO:TAG or oci:DIR:TAG")
      .argument("DST", options.destination, "Where it goes, as in docker://HOST/REPO:TAG or oci:DIR:TAG")
      .option("--platform", options.platform, "OS/ARCH",
              "Which image of an index, as in linux/arm64; default: this machine's")
      .flag("--all-platforms", options.all_platforms, "All images of an index, and the index as it is")
      .option("--digestfile", options.digest_file, "FILE", "Also write the image's digest to a file");
  add_registry_options(command, options.registry);
  command.run([&session, &options, name] {
    session.finish(run(session, options, name == "push", name == "pull").context("{} {}", name, options.source));
  });
}

}  // namespace

void add_copy(CommandLine& line, Session& session) {
  add(line, session, "copy", "Copy an image, ordinary or converted, from any store to any other",
      "dadi copy oci:debian oci-archive:debian.tar\n"
      "dadi copy --all-platforms docker-archive:saved.tar oci:saved");
}

void add_push(CommandLine& line, Session& session) {
  add(line, session, "push", "Copy an image to a registry; blobs that are there are not sent",
      "dadi push oci:debian docker://localhost:5000/debian:12\n"
      "dadi push --json oci:debian-dadi docker://localhost:5000/debian:12-dadi");
}

void add_pull(CommandLine& line, Session& session) {
  add(line, session, "pull", "Copy an image from a registry",
      "dadi pull docker://localhost:5000/debian:12 oci:pulled\n"
      "dadi pull docker://localhost:5000/debian:12 oci-archive:pulled.tar");
}

}  // namespace dadi
