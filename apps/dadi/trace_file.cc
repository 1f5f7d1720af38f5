#include "apps/dadi/trace_file.h"

#include "apps/dadi/new_file.h"
#include "apps/dadi/sizes.h"
#include "apps/image/listed_trace.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

void note_missing(Session& session, const std::string& path, const ListedTrace& trace) {
  for (const std::string& line : trace.examples) session.note(fmt::format("{}: {} is not in the image", path, line));
  if (trace.missing > trace.examples.size())
    session.note(fmt::format("{}: {} more are not", path, format_count(trace.missing - trace.examples.size(), "line")));
}

}  // namespace

Result<TraceFile> TraceFile::load(const std::string& path, const ReadContext& context) {
  DADI_TRY(const auto file, FileBlob::open(path));
  if (file->size().value > trace::kHeaderSize + trace::kMostReads * trace::kReadSize) {
    return Error::exhausted("{} has {}, more than any trace", path, format_size(file->size()));
  }
  DADI_TRY(const auto data, read_range(*file, {0}, file->size(), context));
  TraceFile made;
  made.path_ = path;
  if (data.empty()) return Error::invalid_argument("{} is empty: neither a trace nor a list of files", path);
  if (trace::has_magic(data)) {
    DADI_TRY(made.reads_, trace::decode(data).context("{}", path));
    DADI_TRY(made.origin_, read_origin(path, data).with_hint("without that file, nobody knows which image it is of"));
  } else {
    made.list_ = as_text(data);
  }
  return made;
}

Result<std::vector<trace::Read>> TraceFile::reads_of(Session& session, const ImageOptions& image) const {
  if (!is_list()) return reads_on(session, image);
  DADI_TRY(BlockImage opened, open_block_image(session, image));
  DADI_TRY(ListedTrace trace,
           trace_of_list(std::move(opened.layers), list_, session.stop())
               .context("{}", path_)
               .with_hint("it is no recording, so it is taken for a list of files: one path a line"));
  note_missing(session, path_, trace);
  return std::move(trace.reads);
}

Result<std::vector<trace::Read>> TraceFile::reads_on(Session& session, const ImageOptions& image) const {
  using Kind = oci::Reference::Kind;
  DADI_TRY(const oci::Reference reference, oci::parse_reference(image.reference));
  if (!origin_ || reference.kind == Kind::kLayers || reference.kind == Kind::kConfig) return reads_;
  DADI_TRY(const StoredImage stored,
           open_converted_image(
               reference, image.platform, [](std::string_view) {}, registry_access(session, image.registry)));
  MovedTrace trace = moved(reads_, *origin_, origin_of(stored.image));
  if (trace.left_out.value == 0) return std::move(trace.reads);
  if (trace.reads.empty())
    return Error::invalid_argument("{} was recorded on {}, and that has none of the layers of this image", path_,
                                   origin_->image.to_string())
        .with_hint("record one of this image, as dadi record does; or remove {}, and it is used as it is",
                   origin_path(path_).string());
  session.note(fmt::format("{} was recorded on {}: {} of it are of layers that this image does not have, and left out",
                           path_, origin_->image.to_string(), format_size(trace.left_out)));
  return std::move(trace.reads);
}

Result<std::vector<trace::Read>> TraceFile::recorded() const {
  if (is_list())
    return Error::invalid_argument("{} is not a trace, but a list of files", path_)
        .with_hint("dadi trace attach SRC LIST DST, and dadi trace show LIST --image REF, make a trace of it");
  return reads_;
}

Result<void> check_recordable(const std::string& path) {
  for (const auto& file : {std::filesystem::path(path), origin_path(path)}) DADI_CHECK(check_replaceable(file));
  return {};
}

}  // namespace dadi
