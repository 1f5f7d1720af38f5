// dadi resize SRC SIZE DST
#include <array>

#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/commit_layer.h"
#include "apps/dadi/grown_file_system.h"
#include "apps/dadi/sizes.h"
#include "apps/image/writable_upper.h"
#include "libconvert/pipeline/convert.h"
#include "libformat/base/endian.h"
#include "libfs/check/check.h"
#include "libfs/ext4/layout.h"

namespace dadi {
namespace {

struct ResizeCommand {
  ImageOptions source;
  std::string size;
  std::string message;
  NewImageOptions image;
};

Result<Bytes> parse_new_size(const std::string& text) {
  DADI_TRY(const Bytes size, parse_size(text).context("SIZE"));
  DADI_CHECK(pipeline::check_virtual_size(size).context("SIZE {}", text));
  return size;
}

Result<void> require_larger(const OpenImage& source, Bytes size) {
  const Bytes now = to_bytes(source.device->size());
  if (size > now) return {};
  return Error::invalid_argument("SIZE {}: the image's device has {} already", format_size(size), format_size(now))
      .with_hint(
          "layers are only added, so a device can only grow; for a smaller one convert the source again, with "
          "--virtual-size");
}

Result<void> require_ext4(const BlockReader& device, const ReadContext& context) {
  namespace layout = fs::layout;
  std::array<std::byte, layout::kSuperblockSize> raw{};
  const Sectors at = whole_sectors(Bytes{layout::kSuperblockOffset});
  if (device.size() >= at + whole_sectors(raw)) {
    DADI_CHECK(device.read_at(at, raw, context));
    if (load_le<std::uint16_t>(raw, layout::super::kMagic) == layout::super::kMagicValue) return {};
  }
  return Error::unsupported("its device does not hold an ext4 file system, which is what resize2fs makes larger");
}

Result<std::string> first_fault(const std::shared_ptr<const BlockReader>& device, const ReadContext& context) {
  DADI_TRY(const fs::CheckReport report, fs::check_filesystem(device, context));
  if (report.sound()) return std::string();
  return fmt::format("{}: {}", report.faults.front().place, report.faults.front().text);
}

// resize2fs wants a file system that is sound, and its own work is looked at, too: version 1.47 leaves a bitmap wrong
// where the last group had a second superblock and room for more descriptors, as in images of the reference.
Result<void> grow(Session& session, const OpenImage& source, const std::shared_ptr<lsmt::WritableStack>& layer) {
  DADI_TRY(const std::string before, first_fault(source.device, session.read_context()));
  if (!before.empty()) return Error::corruption("its file system: {}", before);
  DADI_CHECK(grow_file_system(layer, layer, session.stop()));
  DADI_TRY(const std::string after, first_fault(layer, session.read_context()));
  if (after.empty()) return {};
  return Error::unsupported("resize2fs has left a fault in the larger file system: {}", after)
      .with_hint("convert the source again: dadi convert --virtual-size SIZE SRC DST");
}

Result<void> resize(Session& session, const ResizeCommand& command) {
  DADI_TRY(const Bytes size, parse_new_size(command.size));
  DADI_CHECK(find_resize2fs());
  DADI_TRY(const oci::Reference from, parse_image_reference(session, command.source.reference));
  DADI_TRY(ImageReach reach, image_reach(session, command.source));
  reach.lazy.replay = false;
  const auto note = [&session](std::string_view text) { session.note(text); };
  DADI_TRY(const OpenImage source,
           open_image_device(from, command.source.platform, reach, {}, session.read_context(), note));
  DADI_CHECK(require_larger(source, size));
  DADI_CHECK(require_ext4(*source.device, session.read_context()));
  DADI_TRY(NewImage image, NewImage::open(session, command.image, reach.registry, &source.place.reference));
  UpperOptions upper_options;
  upper_options.virtual_size = size;
  DADI_TRY(const WritableUpper upper, WritableUpper::open(upper_options, source.device, note));
  DADI_CHECK(grow(session, source, upper.layers()));
  const ChangedDevice changed{.device = upper.layers(), .written = upper.layers()->own_sectors()};
  const CommitOptions options{.message = command.message, .created_by = fmt::format("dadi resize {}", size.value)};
  const auto read = [](const AllRead&) -> Result<void> { return {}; };
  const auto committed = commit_layer(session, source, changed, image, options, read);
  return committed ? Result<void>() : committed.error();
}

}  // namespace

void add_resize(CommandLine& line, Session& session) {
  auto& options = session.keep<ResizeCommand>();
  auto command = line.add("resize", "Make a converted image's device larger, and its file system with it",
                          "sudo dadi resize oci:debian-dadi 128G oci:debian-large\n"
                          "sudo dadi resize -m 'room for logs' oci:debian-dadi 256G oci:debian-dadi");
  add_image_options(command, options.source);
  command.argument("SIZE", options.size, "The new virtual size, larger than the old one, as in 128G");
  add_new_image_options(command, options.image);
  command.option("-m,--message", options.message, "MESSAGE", "Why, for the layer and the image's history");
  command.run([&] { session.finish(resize(session, options).context("resize {}", options.source.reference)); });
}

}  // namespace dadi
