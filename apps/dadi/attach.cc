// dadi attach REF
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>

#include "apps/dadi/attached.h"
#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/trace_file.h"

namespace dadi {
namespace {

namespace fs = std::filesystem;

constexpr auto kTemporary = "temporary";  // --writable without a folder

struct AttachOptions {
  ImageOptions image;
  std::string name;
  std::string mount;
  std::string mount_options;
  std::string backend = "auto";
  std::string memory = "32M";
  std::string metrics_address;
  std::string record;
  std::string writable;  // empty: read-only
  std::string writable_size;
  std::string writable_form = "append";
  bool journal = false;
  unsigned timeout = 30;
  unsigned successor_timeout = 120;
  std::string dadid;
};

// As the kernel will call it: absolute, without links.
Result<fs::path> canonical(const std::string& folder) {
  std::error_code error;
  const fs::path path = fs::weakly_canonical(fs::absolute(folder), error);
  if (error) return Error::from_errno(error.value(), folder);
  return path.has_filename() ? path : path.parent_path();
}

// A folder that nobody else has thought of. It is made only once the state folder knows of it, so none is left behind.
Result<fs::path> temporary_folder() {
  std::uint64_t random[2];
  if (::getrandom(random, sizeof random, 0) != sizeof random) return Error::from_errno(errno, "getrandom");
  const char* const folder = std::getenv("TMPDIR");
  const fs::path parent = fs::absolute(folder != nullptr && *folder != '\0' ? folder : "/var/tmp");
  return parent / fmt::format("dadi-writable-{:016x}{:016x}", random[0], random[1]);
}

Result<std::optional<attach::WritableSpec>> writable_spec(const AttachOptions& options) {
  if (options.writable.empty()) {
    if (options.journal)
      return Error::invalid_argument("--journal is for --writable").with_hint("what is only read needs no journal");
    if (options.writable_size.empty()) return std::optional<attach::WritableSpec>();
    return Error::invalid_argument("--writable-size is for --writable");
  }
  attach::WritableSpec spec;
  spec.form = options.writable_form;
  spec.temporary = options.writable == kTemporary;
  spec.journal = options.journal;
  if (!options.writable_size.empty()) {
    DADI_TRY(spec.limit, parse_size(options.writable_size));
  }
  DADI_TRY(const fs::path folder, spec.temporary ? temporary_folder() : canonical(options.writable));
  spec.folder = folder.string();
  return std::optional(std::move(spec));
}

Result<attach::AttachRequest> request_of(Session& session, const AttachOptions& options) {
  DADI_TRY(const attach::MountOptions mount_options,
           attach::MountOptions::parse(options.mount_options, !options.writable.empty()));
  DADI_TRY(const Bytes memory, parse_size(options.memory));
  DADI_TRY(const oci::Reference reference, parse_image_reference(session, options.image.reference));
  DADI_TRY(ImageReach reach, image_reach(session, options.image));
  DADI_TRY(ImageRequest image, request_image(session, reference, options.image.platform, std::move(reach),
                                             options.dadid, [&session](std::string_view text) { session.note(text); }));
  attach::AttachRequest& request = image.attach;
  request.name = options.name;
  request.mount_options = mount_options;
  if (!options.mount.empty()) {
    DADI_TRY(request.mount, canonical(options.mount));
  }
  request.spec.memory = memory;
  request.spec.backend = options.backend;
  request.spec.metrics_address = options.metrics_address;
  if (!options.record.empty()) {
    DADI_CHECK(check_recordable(options.record));
    request.spec.record = fs::absolute(options.record).string();
  }
  DADI_TRY(request.spec.writable, writable_spec(options));
  request.spec.timeout = std::max(options.timeout, 1U);
  request.spec.successor_timeout = options.successor_timeout;
  return std::move(image.attach);
}

Result<void> attach_image(Session& session, const AttachOptions& options) {
  DADI_CHECK(require_root("attaching"));
  DADI_TRY(const attach::AttachRequest request, request_of(session, options));
  DADI_TRY(const auto folder, attach::StateFolder::open());
  DADI_TRY(const attach::Listing listing, attach::attach(folder, request));
  if (options.backend == "auto") session.note(fmt::format("the device is made by backend {}", listing.device->backend));
  for (const std::string& note : listing.device->notes) session.note(note);
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
                          "sudo dadi attach --name work --writable=changes --mount /mnt oci:debian-dadi\n"
                          "sudo dadi detach work\n"
                          "sudo dadi attach docker://localhost:5000/debian:dadi");
  add_image_options(command, options.image);
  add_download_options(command, options.image.lazy);
  command.option("--name", options.name, "NAME", "What ps, stats and detach call it; by default after the image")
      .option("--mount", options.mount, "DIR",
              "Mount it there, too: nodev,nosuid, and ro without --writable. DIR is made when missing")
      .option("--mount-options", options.mount_options, "OPTIONS", "More of them, as mount -o takes them")
      .option("--backend", options.backend, "BACKEND", "auto, nbd or loop: how the device is made")
      .one_of({"auto", "nbd", "loop"})
      .option("--memory", options.memory, "SIZE", "For decompressed blocks that may be read again")
      .option("--metrics-addr", options.metrics_address, "ADDRESS:PORT",
              "Prometheus text on loopback, too; port 0: any")
      .option("--record", options.record, "FILE", "Until it is detached, remember what is read: a trace, written then")
      .flag_with_value("--writable", options.writable, kTemporary, "DIR",
                       "Let it be written to, in a layer in this folder; without one, in one that goes with it")
      .option("--writable-size", options.writable_size, "SIZE", "What the writable layer may take; without, the disk")
      .option("--writable-form", options.writable_form, "FORM", "Of a new writable layer: append or sparse")
      .one_of({"append", "sparse"})
      .flag("--journal", options.journal, "Put a journal into the writable layer's ext4; commit leaves it out")
      .option("--timeout", options.timeout, "SECONDS", "With nbd: after this a read that got no answer is asked again")
      .option("--successor-timeout", options.successor_timeout, "SECONDS",
              "With nbd: how long reads wait for a new dadid when theirs died, before they fail")
      .option("--dadid", options.dadid, "FILE", "The program that serves the device");
  command.run([&] { session.finish(attach_image(session, options).context("attach {}", options.image.reference)); });
}

}  // namespace dadi
