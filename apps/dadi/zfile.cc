// dadi zfile compress|extract|info: the seekable compression, on any file
#include "apps/dadi/commands.h"
#include "apps/dadi/compression.h"
#include "apps/dadi/new_file.h"
#include "apps/dadi/sizes.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"
#include "libformat/blob/memory_blob.h"
#include "libformat/tar_envelope/tar_envelope.h"
#include "libformat/zfile/reader.h"
#include "libformat/zfile/writer.h"

namespace dadi {
namespace {

struct ZfileOptions {
  std::string input;
  std::string output;
  CompressionOptions compression;
};

constexpr std::size_t kChunk = 1 << 20;  // read at once; a multiple of every block size

Result<void> compress(Session& session, const ZfileOptions& options) {
  DADI_TRY(const zfile::Options format, parse_compression(options.compression));
  DADI_TRY(zfile::BlockEncoder encoder, zfile::BlockEncoder::create(format));
  DADI_TRY(const auto input, FileBlob::open(options.input));
  const std::filesystem::path output = options.output;
  DADI_CHECK(check_replaceable(output));
  DADI_TRY(const auto sink, FileBlobSink::create(folder_of(output), {zfile::kRecordSize},
                                                 [&](const Digest&) { return output.filename().string(); }));
  zfile::Writer writer(*sink, format);
  const auto task = session.progress().start(options.input, input->size());
  std::vector<std::byte> raw, stored;
  for (Bytes at; at < input->size(); at += Bytes{raw.size()}) {
    raw.resize(std::min<std::uint64_t>(kChunk, (input->size() - at).value));
    DADI_CHECK(input->read_at(at, raw, session.read_context()));
    for (std::size_t i = 0; i < raw.size(); i += format.block_size) {
      const auto block = std::span(raw).subspan(i, std::min<std::size_t>(format.block_size, raw.size() - i));
      stored.clear();
      DADI_CHECK(encoder.encode(block, stored));
      DADI_CHECK(writer.add(stored, block.size()));
    }
    task->advance({raw.size()});
    if (session.stop().stop_requested()) return Error::cancelled("stopped");
  }
  DADI_TRY(const auto finished, writer.finish());
  DADI_TRY(const BlobIdentity written, sink->finish(finished.header));
  task->finish();
  if (session.options.json) {
    session.answer({{"path", options.output},
                    {"digest", written.digest.to_string()},
                    {"size", written.size.value},
                    {"raw_size", input->size().value}});
  } else {
    session.out().print("{}: {} from {}\n", session.shown(options.output), format_size(written.size),
                        format_size(input->size()));
  }
  return {};
}

// The ZFile in a file, which may be wrapped as a pushed layer is.
Result<std::shared_ptr<const zfile::Reader>> open_zfile(const std::string& path, const ReadContext& context) {
  DADI_TRY(SharedBlob blob, FileBlob::open(path));
  DADI_TRY(const auto payload, tar_envelope::find_payload(*blob, context));
  if (payload) blob = std::make_shared<BlobWindow>(std::move(blob), payload->offset, payload->size);
  DADI_TRY(const bool found, zfile::is_zfile(*blob, context));
  if (!found) return Error::invalid_argument("not a ZFile");
  return zfile::Reader::open(std::move(blob), context);
}

Result<void> extract(Session& session, const ZfileOptions& options) {
  DADI_TRY(const auto input, open_zfile(options.input, session.read_context()).context("{}", options.input));
  DADI_TRY(const auto output, NewFile::create(options.output));
  const auto task = session.progress().start(options.input, input->size());
  std::vector<std::byte> raw;
  for (Bytes at; at < input->size(); at += Bytes{raw.size()}) {
    raw.resize(std::min<std::uint64_t>(kChunk, (input->size() - at).value));
    DADI_CHECK(input->read_at(at, raw, session.read_context()).context("{}", options.input));
    DADI_CHECK(output->write_at(at, raw));
    task->advance({raw.size()});
    if (session.stop().stop_requested()) return Error::cancelled("stopped");
  }
  DADI_CHECK(output->publish(input->size()));
  task->finish();
  if (session.options.json) session.answer({{"path", options.output}, {"size", input->size().value}});
  return {};
}

Result<void> print_info(Session& session, const ZfileOptions& options) {
  DADI_TRY(const auto input, open_zfile(options.input, session.read_context()).context("{}", options.input));
  const zfile::Info& info = input->info();
  if (session.options.json) {
    session.answer({{"algorithm", zfile::name_of(info.algorithm)},
                    {"block_size", info.block_size},
                    {"blocks", info.blocks},
                    {"block_checksums", info.verify},
                    {"record_digests", info.digests},
                    {"header_authoritative", info.header_authoritative},
                    {"longest_stored_block", info.longest_stored},
                    {"raw_size", info.raw_size.value},
                    {"size", info.stored_size.value}});
    return {};
  }
  Output& out = session.out();
  out.print("compression      {}\n", describe(info.algorithm, info.block_size));
  out.print("blocks           {}, the longest stored in {} bytes\n", info.blocks, info.longest_stored);
  out.print("block checksums  {}\n", info.verify ? "yes" : "no");
  out.print("record digests   {}\n", info.digests ? "yes" : "no");
  out.print("authoritative    {}\n", info.header_authoritative ? "header" : "trailer");
  out.print("raw size         {} ({} bytes)\n", format_size(info.raw_size), info.raw_size.value);
  out.print("size             {} ({} bytes)\n", format_size(info.stored_size), info.stored_size.value);
  return {};
}

}  // namespace

void add_zfile(CommandLine& line, Session& session) {
  auto& options = session.keep<ZfileOptions>();
  auto zfile = line.add("zfile", "The seekable compression, on any file",
                        "dadi zfile compress disk.img disk.zfile\n"
                        "dadi zfile info disk.zfile\n"
                        "dadi zfile extract disk.zfile copy.img");

  auto pack = zfile.add("compress", "Compress a file, so that any part of it can be read alone",
                        "dadi zfile compress disk.img disk.zfile\n"
                        "dadi zfile compress --compression zstd:9 --block-size 16K disk.img small.zfile");
  pack.argument("IN", options.input, "File to compress").argument("OUT", options.output, "ZFile to write");
  add_compression_options(pack, options.compression);
  pack.run([&] { session.finish(compress(session, options).context("zfile compress")); });

  auto unpack =
      zfile.add("extract", "Decompress a ZFile, verifying every block", "dadi zfile extract disk.zfile copy.img");
  unpack.argument("IN", options.input, "ZFile, or a layer in its tar envelope")
      .argument("OUT", options.output, "File to write");
  unpack.run([&] { session.finish(extract(session, options).context("zfile extract")); });

  auto info = zfile.add("info", "What a ZFile says about itself",
                        "dadi zfile info disk.zfile\n"
                        "dadi zfile info --json disk.zfile | jq .raw_size");
  info.argument("FILE", options.input, "ZFile, or a layer in its tar envelope");
  info.run([&] { session.finish(print_info(session, options).context("zfile info")); });
}

}  // namespace dadi
