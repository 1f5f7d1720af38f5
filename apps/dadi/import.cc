// dadi import FILE DST
#include "apps/dadi/commands.h"
#include "apps/dadi/config_options.h"
#include "apps/dadi/new_image.h"
#include "apps/dadi/raw_disk.h"
#include "apps/dadi/registry_options.h"
#include "apps/dadi/temporary_folder.h"
#include "libconvert/oci/converted.h"

namespace dadi {
namespace {

struct ImportCommand {
  std::string file;
  std::string platform;
  ConfigWords config;
  NewImageOptions image;
  RegistryOptions registry;
};

// The disk in a file of any format. What is not raw is made so for the moment; the file can be forgotten once open.
Result<std::unique_ptr<RawDisk>> open_disk(Session& session, const std::string& path) {
  DADI_TRY(const std::string format, disk_format(path));
  if (format.empty()) return RawDisk::open(path);
  session.note(fmt::format("a {} image: qemu-img reads it", format));
  DADI_TRY(const auto folder, TemporaryFolder::make("dadi-import"));
  DADI_CHECK(convert_to_raw(path, format, folder / "disk", session.stop()));
  return RawDisk::open(folder / "disk");
}

Result<void> import(Session& session, const ImportCommand& command) {
  DADI_TRY(const oci::ConfigChanges changes, parse_config_changes(command.config));
  oci::Platform platform = oci::host_platform();
  if (!command.platform.empty()) {
    DADI_TRY(platform, oci::parse_platform(command.platform));
  }
  DADI_TRY(const oci::ImageConfig config, oci::ImageConfig::empty(oci::normalized(platform)).with_changes(changes));
  DADI_TRY(const auto disk, open_disk(session, command.file));
  DADI_TRY(const std::string file_system, other_file_system(*disk, session.read_context()));
  DADI_TRY(NewImage image, NewImage::open(session, command.image, registry_access(session, command.registry), nullptr));
  DADI_TRY(auto layer, image.write_layer(*disk, nullptr, pipeline::all_sectors(*disk), {}));
  if (!layer) return Error::unsupported("the disk holds nothing but zeros");
  if (!file_system.empty()) layer->descriptor.annotations[oci::kBlobFsType] = file_system;
  const pipeline::AddedLayer added{.descriptor = layer->descriptor, .created_by = "dadi import"};
  DADI_TRY(const oci::Descriptor manifest, pipeline::put_new_image(image.destination(), config, {added}));
  return image.publish(manifest, layer, {});
}

}  // namespace

void add_import(CommandLine& line, Session& session) {
  auto& options = session.keep<ImportCommand>();
  auto command = line.add("import", "Make an image of a disk: raw, QCOW2, VHDX, VHD or VDI, of any file system",
                          "dadi import disk.img oci:disk\n"
                          "dadi import --platform linux/arm64 --cmd '[\"/sbin/init\"]' disk.img oci:disk-arm64");
  command.argument("FILE", options.file, "Disk image, or a block device of this host");
  add_new_image_options(command, options.image);
  command.option("--platform", options.platform, "OS/ARCH", "What the image is for; default: this machine's");
  add_config_options(command, options.config);
  add_registry_options(command, options.registry);
  command.run([&] { session.finish(import(session, options).context("import {}", options.file)); });
}

}  // namespace dadi
