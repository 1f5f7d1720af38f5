// dadi cat REF PATH
#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "libfs/ext4/volume.h"

namespace dadi {
namespace {

struct CatOptions {
  ImageOptions image;
  std::string path;
};

constexpr std::uint64_t kChunk = 1 << 20;  // bytes read at once

Result<void> copy_out(Session& session, const fs::Volume& volume, const std::string& path) {
  DADI_TRY(const fs::Inode file, volume.resolve(path, /*follow_last=*/true));
  if (file.attributes.type != fs::FileType::kRegular) return Error::invalid_argument("{}: not a regular file", path);
  std::vector<std::byte> buffer;
  for (Bytes at; at < file.size; at += Bytes{buffer.size()}) {
    buffer.resize(std::min(kChunk, (file.size - at).value));
    DADI_CHECK(volume.read(file, at, buffer).context("{}", path));
    DADI_CHECK(session.out().write(buffer));
    if (session.stop().stop_requested()) return Error::cancelled("stopped");
  }
  return {};
}

Result<void> print_file(Session& session, const CatOptions& options) {
  DADI_TRY(const auto device, open_device(session, options.image));
  DADI_TRY(const auto volume, fs::Volume::open(device));
  return copy_out(session, *volume, options.path);
}

}  // namespace

void add_cat(CommandLine& line, Session& session) {
  auto& options = session.keep<CatOptions>();
  auto command = line.add("cat", "Print a file of a converted image, without mounting it",
                          "dadi cat oci:debian-dadi /etc/os-release");
  add_image_options(command, options.image);
  command.argument("PATH", options.path, "File in the image; symlinks are followed inside the image");
  command.run([&] { session.finish(print_file(session, options).context("cat {}", options.image.reference)); });
}

}  // namespace dadi
