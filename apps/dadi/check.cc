// dadi check REF
#include "libfs/check/check.h"

#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/printable.h"
#include "apps/dadi/sizes.h"
#include "libconvert/oci/converted.h"
#include "libconvert/oci/verified_source.h"

namespace dadi {
namespace {

constexpr std::uint64_t kChunk = 1 << 20;  // bytes read at once

// What a check has found so far.
struct Findings {
  Bytes stored;
  std::uint64_t checksummed_blocks = 0;
  std::vector<std::string> notes;
  fs::CheckReport file_system;
};

// Reads a stream to its end: a VerifiedSource compares digest and size on the way.
Result<void> drain(Session& session, ByteSource& source, Progress::Task& task) {
  for (;;) {
    DADI_TRY(const auto piece, source.next());
    if (piece.empty()) return {};
    task.advance({piece.size()});
    if (session.stop().stop_requested()) return Error::cancelled("stopped");
  }
}

// Reads every byte of a compressed layer: each block's checksum is compared, and each block is decompressed.
Result<void> decompress_all(Session& session, const BlobReader& unwrapped, Progress::Task& task) {
  std::vector<std::byte> buffer(kChunk);
  for (Bytes at; at < unwrapped.size();) {
    const auto piece = std::span(buffer).first(std::min(kChunk, (unwrapped.size() - at).value));
    DADI_CHECK(unwrapped.read_at(at, piece, session.read_context()));
    at += Bytes{piece.size()};
    task.advance({piece.size()});
    if (session.stop().stop_requested()) return Error::cancelled("stopped");
  }
  return {};
}

Result<void> check_layer(Session& session, const BlockLayer& layer, Findings& findings) {
  const Bytes raw = layer.zfile ? layer.zfile->raw_size : Bytes{};
  const auto task = session.progress().start(layer.name, layer.blob->size() + raw);
  findings.stored += layer.blob->size();
  if (layer.expected) {
    oci::VerifiedSource stream(std::make_unique<oci::BlobStream>(layer.blob, session.read_context()),
                               layer.expected->digest, layer.expected->size);
    DADI_CHECK(drain(session, stream, *task));
  } else {
    task->advance(layer.blob->size());
  }
  if (layer.zfile) {
    DADI_CHECK(decompress_all(session, *layer.unwrapped, *task));
    if (layer.zfile->verify) findings.checksummed_blocks += layer.zfile->blocks;
  }
  if (!layer.expected && !(layer.zfile && layer.zfile->verify)) {
    findings.notes.push_back(fmt::format("{}: nothing here carries checksums of the data", layer.name));
  }
  task->finish();
  return {};
}

// What manifest and config say of a layer besides its digest.
Result<void> check_annotations(const oci::Descriptor& layer) {
  const std::string& digest = layer.annotation(oci::kBlobDigest);
  const std::string& size = layer.annotation(oci::kBlobSize);
  if (digest != layer.digest.to_string()) return Error::corruption("annotation blob-digest is \"{}\"", digest);
  if (size != std::to_string(layer.size.value)) {
    return Error::corruption("annotation blob-size is \"{}\", not {}", size, layer.size.value);
  }
  return {};
}

Result<void> check_documents(const oci::SelectedImage& image) {
  const auto& layers = image.manifest.layers;
  const auto& diff_ids = image.config.diff_ids();
  if (diff_ids.size() != layers.size()) {
    return Error::corruption("config: {} diff ids for {} layers", diff_ids.size(), layers.size());
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (oci::form_of(layers[i]) != oci::LayerForm::kBlock) continue;
    DADI_CHECK(check_annotations(layers[i]).context("layer {} ({})", i + 1, layers[i].digest.brief()));
    // A layer's tar archive is not compressed, so that its diff id is the digest of the blob.
    if (diff_ids[i] != layers[i].digest) {
      return Error::corruption("config: diff id {} is {}, not the layer's digest", i + 1, diff_ids[i].to_string());
    }
  }
  return {};
}

void note_broken_chain(const std::vector<BlockLayer>& layers, Findings& findings) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const lsmt::Uuid& parent = layers[i].reader.info().parent;
    const lsmt::Uuid below = i == 0 ? lsmt::Uuid{} : layers[i - 1].reader.info().uuid;
    if (parent.is_null() || parent == below) continue;
    findings.notes.push_back(fmt::format("{}: its parent is {}, and the layer below is {}", layers[i].name,
                                         parent.to_string(), i == 0 ? "none" : below.to_string()));
  }
}

Result<void> check_file_system(Session& session, std::shared_ptr<const BlockReader> device, Findings& findings) {
  DADI_TRY(findings.file_system,
           fs::check_filesystem(std::move(device), session.read_context()).context("file system"));
  const fs::CheckReport& report = findings.file_system;
  for (const auto& note : report.notes)
    findings.notes.push_back(fmt::format("file system: {}: {}", note.place, note.text));
  if (report.sound()) return {};
  const auto& first = report.faults.front();
  for (const auto& fault : report.faults) session.detail(fmt::format("file system: {}: {}", fault.place, fault.text));
  return Error::corruption("file system: {}: {}{}", first.place, first.text,
                           report.fault_count > 1 ? fmt::format(" (the first of {} faults)", report.fault_count) : "");
}

Result<void> check_image(Session& session, const ImageOptions& options, Findings& findings) {
  DADI_TRY(BlockImage image, open_block_image(session, options));
  if (image.stored) DADI_CHECK(check_documents(image.stored->image));
  for (const BlockLayer& layer : image.layers) {
    DADI_CHECK(check_layer(session, layer, findings).context("{}", layer.name));
  }
  note_broken_chain(image.layers, findings);
  DADI_TRY(auto device, stack(std::move(image.layers)));
  return check_file_system(session, std::move(device), findings);
}

Json facts_json(const fs::CheckFacts& facts) {
  return {{"block_size", facts.block_size.value},
          {"blocks", facts.blocks},
          {"blocks_used", facts.blocks_used},
          {"inodes", facts.inodes},
          {"inodes_used", facts.inodes_used},
          {"directories", facts.directories},
          {"files", facts.files},
          {"symlinks", facts.symlinks},
          {"others", facts.others}};
}

void answer_json(Session& session, const ImageOptions& options, const Findings& findings, const Error* fault) {
  Json object = {{"reference", as_utf8(options.reference)}, {"sound", fault == nullptr}};
  if (fault != nullptr) {
    object["fault"] = as_utf8(fault->message());
    object["faults"] = Json::array();
    for (const auto& found : findings.file_system.faults) {
      object["faults"].push_back({{"place", as_utf8(found.place)}, {"text", as_utf8(found.text)}});
    }
  } else {
    object["stored_size"] = findings.stored.value;
    object["checksummed_blocks"] = findings.checksummed_blocks;
    object["file_system"] = facts_json(findings.file_system.facts);
  }
  object["notes"] = Json::array();
  for (const std::string& note : findings.notes) object["notes"].push_back(as_utf8(note));
  session.answer(object);
}

Result<void> check(Session& session, const ImageOptions& options) {
  Findings findings;
  const Result<void> result = check_image(session, options, findings);
  const bool faulty = !result && result.error().code() == ErrorCode::kCorruption;
  if (session.options.json) {
    if (result || faulty) answer_json(session, options, findings, faulty ? &result.error() : nullptr);
    return result;
  }
  for (const std::string& note : findings.notes) session.note(note);
  if (!result) return result;
  const fs::CheckFacts& facts = findings.file_system.facts;
  session.out().print("OK: {} stored, {} verified; {}, {}, {} {}\n", format_size(findings.stored),
                      format_count(findings.checksummed_blocks, "block checksum"), format_count(facts.files, "file"),
                      format_count(facts.symlinks, "symlink"), format_count(facts.others, "other"),
                      fmt::format("in {} folders", facts.directories));
  return {};
}

}  // namespace

void add_check(CommandLine& line, Session& session) {
  auto& options = session.keep<ImageOptions>();
  auto command = line.add("check", "Every checksum, digest, index and the file system: OK, or the first fault",
                          "dadi check oci:debian-dadi\n"
                          "dadi check --json oci:debian-dadi | jq .sound");
  add_image_options(command, options);
  command.run([&] { session.finish(check(session, options).context("check {}", options.reference)); });
}

}  // namespace dadi
