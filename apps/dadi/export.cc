// dadi export REF FILE
#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/new_file.h"
#include "apps/dadi/sizes.h"
#include "libformat/base/bytes.h"

namespace dadi {
namespace {

struct ExportOptions {
  ImageOptions image;
  std::string output;
};

constexpr std::uint64_t kChunk = 1 << 20;  // bytes read at once
// Zeros of this size become holes of the file. Shorter ones are written: a file of a million extents takes
// a file system many times as long to make as one that is somewhat larger.
constexpr std::size_t kHole = 32 << 10;

// Calls sink(offset, bytes) for all data of the device, in order, in chunks that begin with data; what lies between is
// left out.
template <typename Sink>
Result<void> for_each_data(Session& session, const BlockReader& device, Progress::Task& task, Sink&& sink) {
  std::vector<std::byte> buffer(kChunk);
  for (Sectors at; at < device.size();) {
    DADI_TRY(const Extent extent, device.next_extent(at));
    if (extent.kind == Extent::Kind::kData) {
      // To the next multiple of a chunk, and over the gaps on the way: reading them costs nothing.
      const Bytes length{
          std::min(kChunk - to_bytes(at).value % kChunk, to_bytes(device.size()).value - to_bytes(at).value)};
      const auto piece = std::span(buffer).first(length.value);
      DADI_CHECK(device.read_at(at, piece, session.read_context()));
      DADI_CHECK(sink(to_bytes(at), std::span<const std::byte>(piece)));
      at += whole_sectors(length);
    } else {
      at += extent.length;
    }
    task.set_done(to_bytes(at));
    if (session.stop().stop_requested()) return Error::cancelled("stopped");
  }
  return {};
}

// Writes the parts of `data` that are not zero.
Result<void> write_sparsely(NewFile& file, Bytes offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    std::size_t used = 0;
    while (used < data.size() && !all_zero(data.subspan(used, std::min(kHole, data.size() - used)))) {
      used = std::min(data.size(), used + kHole);
    }
    DADI_CHECK(file.write_at(offset, data.first(used)));
    const std::size_t skip = std::min(data.size(), used + kHole);
    data = data.subspan(skip);
    offset += Bytes{skip};
  }
  return {};
}

Result<void> export_to_file(Session& session, const BlockReader& device, const std::string& path) {
  DADI_TRY(const auto file, NewFile::create(path));
  const auto task = session.progress().start(path, to_bytes(device.size()));
  DADI_CHECK(for_each_data(session, device, *task, [&](Bytes offset, std::span<const std::byte> data) {
    return write_sparsely(*file, offset, data);
  }));
  DADI_CHECK(file->publish(to_bytes(device.size())));
  task->finish();
  if (session.options.json) session.answer({{"path", path}, {"size", to_bytes(device.size()).value}});
  return {};
}

Result<void> export_to_pipe(Session& session, const BlockReader& device) {
  Output& out = session.out();
  if (out.is_terminal()) return Error::invalid_argument("a device is not for a terminal");
  const std::vector<std::byte> zeros(kChunk);
  Bytes written;
  const auto pad_to = [&](Bytes end) -> Result<void> {
    while (written < end) {
      const Bytes length{std::min(kChunk, (end - written).value)};
      DADI_CHECK(out.write(std::span(zeros).first(length.value)));
      written += length;
      if (session.stop().stop_requested()) return Error::cancelled("stopped");
    }
    return {};
  };
  const auto task = session.progress().start("standard output", to_bytes(device.size()));
  const auto copy = [&](Bytes offset, std::span<const std::byte> data) -> Result<void> {
    DADI_CHECK(pad_to(offset));
    DADI_CHECK(out.write(data));
    written += Bytes{data.size()};
    return {};
  };
  DADI_CHECK(for_each_data(session, device, *task, copy));
  DADI_CHECK(pad_to(to_bytes(device.size())));
  task->finish();
  return {};
}

Result<void> export_device(Session& session, const ExportOptions& options) {
  DADI_TRY(const auto device, open_device(session, options.image));
  if (options.output == "-") return export_to_pipe(session, *device);
  return export_to_file(session, *device, options.output);
}

}  // namespace

void add_export(CommandLine& line, Session& session) {
  auto& options = session.keep<ExportOptions>();
  auto command = line.add("export", "The raw device as a sparse file, for mount -o loop, qemu or dd",
                          "dadi export oci:debian-dadi disk.img\n"
                          "dadi export oci:debian-dadi - | head -c 1M | sha256sum");
  add_image_options(command, options.image);
  command.argument("FILE", options.output, "File to write; - is standard output");
  command.run([&] { session.finish(export_device(session, options).context("export {}", options.image.reference)); });
}

}  // namespace dadi
