// dadi attach REF
#include <algorithm>

#include "apps/dadi/attached.h"
#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/new_file.h"
#include "apps/dadi/sizes.h"
#include "apps/image/image_identity.h"

namespace dadi {
namespace {

namespace fs = std::filesystem;

struct AttachOptions {
  ImageOptions image;
  std::string name;
  std::string mount;
  std::string mount_options;
  std::string backend = "auto";
  std::string memory = "32M";
  std::string metrics_address;
  std::string record;
  unsigned timeout = 30;
  unsigned successor_timeout = 120;
  std::string dadid;
};

// As the kernel will call it: absolute, without links.
Result<fs::path> mount_point(const std::string& folder) {
  std::error_code error;
  const fs::path path = fs::weakly_canonical(fs::absolute(folder), error);
  if (error) return Error::from_errno(error.value(), folder);
  return path.has_filename() ? path : path.parent_path();
}

Result<attach::AttachRequest> request_of(Session& session, const AttachOptions& options) {
  attach::AttachRequest request;
  request.note = [&session](std::string_view text) { session.note(text); };
  request.stop = session.stop();
  request.name = options.name;
  DADI_TRY(request.mount_options, attach::MountOptions::parse(options.mount_options));
  DADI_TRY(request.dadid, find_dadid(options.dadid));
  DADI_TRY(request.spec.memory, parse_size(options.memory));
  DADI_TRY(const oci::Reference reference, parse_image_reference(session, options.image.reference));
  DADI_TRY(ImageReach reach, image_reach(session, options.image));
  DADI_TRY(ImageIdentity identity, identify_image(reference, options.image.platform, request.note, reach.registry));
  if (reference.kind == oci::Reference::Kind::kRegistry) {
    reach.registry.documents = std::move(identity.documents);
    request.spec.reach = to_json(reach);
  }
  request.reference = reference.to_string();
  request.like_name = identity.name;
  if (!options.mount.empty()) {
    DADI_TRY(request.mount, mount_point(options.mount));
  }
  request.spec.image = identity.content;
  request.spec.reference = identity.reference;
  request.spec.directory = fs::current_path().string();
  request.spec.platform = options.image.platform;
  request.spec.backend = options.backend;
  request.spec.metrics_address = options.metrics_address;
  if (!options.record.empty()) {
    DADI_CHECK(check_replaceable(options.record));
    request.spec.record = fs::absolute(options.record).string();
  }
  request.spec.timeout = std::max(options.timeout, 1U);
  request.spec.successor_timeout = options.successor_timeout;
  return request;
}

Result<void> attach_image(Session& session, const AttachOptions& options) {
  DADI_CHECK(require_root("attaching"));
  DADI_TRY(const attach::AttachRequest request, request_of(session, options));
  DADI_TRY(const auto folder, attach::StateFolder::open());
  DADI_TRY(const attach::Listing listing, attach::attach(folder, request));
  if (options.backend == "auto") session.note(fmt::format("the device is made by backend {}", listing.device->backend));
  if (listing.device->opening.is_string()) session.detail(listing.device->opening.get<std::string>());
  if (session.options.json) {
    session.answer(attachment_json(listing));
  } else {
    session.out().print("{}\n", listing.device->device);
  }
  return {};
}

}  // namespace

void add_attach(CommandLine& line, Session& session) {
  auto& options = session.keep<AttachOptions>();
  auto command = line.add("attach", "Make a converted image a block device of this host; prints its path",
                          "sudo dadi attach oci:debian-dadi\n"
                          "sudo dadi attach --name web --mount /mnt oci:debian-dadi\n"
                          "sudo dadi detach web\n"
                          "sudo dadi attach docker://localhost:5000/debian:dadi");
  add_image_options(command, options.image);
  add_download_options(command, options.image.lazy);
  command.option("--name", options.name, "NAME", "What ps, stats and detach call it; by default after the image")
      .option("--mount", options.mount, "DIR", "Mount it there, too: ro,nodev,nosuid. DIR is made when missing")
      .option("--mount-options", options.mount_options, "OPTIONS", "More of them, as mount -o takes them")
      .option("--backend", options.backend, "BACKEND", "auto, nbd or loop: how the device is made")
      .one_of({"auto", "nbd", "loop"})
      .option("--memory", options.memory, "SIZE", "For decompressed blocks that may be read again")
      .option("--metrics-addr", options.metrics_address, "ADDRESS:PORT",
              "Prometheus text on loopback, too; port 0: any")
      .option("--record", options.record, "FILE", "Until it is detached, remember what is read: a trace, written then")
      .option("--timeout", options.timeout, "SECONDS", "With nbd: after this a read that got no answer is asked again")
      .option("--successor-timeout", options.successor_timeout, "SECONDS",
              "With nbd: how long reads wait for a new dadid when theirs died, before they fail")
      .option("--dadid", options.dadid, "FILE", "The program that serves the device");
  command.run([&] { session.finish(attach_image(session, options).context("attach {}", options.image.reference)); });
}

}  // namespace dadi
