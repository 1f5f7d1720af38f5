#include "libconvert/pipeline/optimize.h"

#include <algorithm>

#include "libconvert/oci/acceleration_layer.h"
#include "libconvert/oci/converted.h"
#include "libconvert/oci/staging.h"
#include "libconvert/pipeline/layer_blob.h"
#include "libconvert/pipeline/trace_layout.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"
#include "libformat/layer_file.h"

namespace dadi::pipeline {

namespace {

constexpr std::size_t kDataPiece = std::size_t{1} << 20;  // read and written at once

class Optimize {
 public:
  Optimize(const oci::ImageSource& source, oci::ImageDestination& destination, std::span<const trace::Read> trace,
           const OptimizeOptions& options, OptimizeObserver& observer)
      : source_(source),
        destination_(destination),
        trace_(trace),
        options_(options),
        observer_(observer),
        result_{source.root(), {}, 0, {}, {}} {}

  Result<OptimizeResult> run() {
    DADI_TRY(const oci::Selection selection,
             oci::select(source_, {.platform = options_.platform, .all = false, .for_conversion = false}));
    for (const std::string& text : selection.notes) observer_.note(text);
    const oci::SelectedImage& image = selection.images.front();
    if (!oci::is_converted(image.manifest))
      return Error::unsupported("an ordinary image, and a trace is of block layers")
          .with_hint("convert it first: dadi convert SRC DST");
    for (const oci::Descriptor& layer : image.manifest.layers)
      if (oci::form_of(layer) != oci::LayerForm::kAcceleration) result_.layers.push_back({layer, layer, {}});
    DADI_TRY(const TraceLayout layout, lay_out_layers());
    for (std::size_t i = 0; i < result_.layers.size(); ++i) {
      if (layout.layers[i].anew) DADI_CHECK(write_anew(i, layout.layers[i]).context("{}", name_of(i)));
      files_[i].reset();
    }
    DADI_TRY(const oci::Descriptor top, put_trace(layout));
    DADI_TRY(const oci::SelectedImage changed, with_results(image));
    DADI_TRY(result_.root, put_image(changed, top));
    DADI_CHECK(destination_.commit(result_.root));
    return std::move(result_);
  }

 private:
  std::string name_of(std::size_t number) const {
    return fmt::format("layer {} ({})", number + 1, result_.layers[number].source.digest.brief());
  }

  // Opens the layers that the trace reads, and finds their order.
  Result<TraceLayout> lay_out_layers() {
    const std::size_t count = result_.layers.size();
    std::vector<bool> read(count, false);
    for (const trace::Read& one : trace_)
      if (one.layer < count && one.size.value > 0) read[one.layer] = true;
    files_.resize(count);
    std::vector<const lsmt::LayerReader*> readers(count, nullptr);
    std::vector<bool> keep(count, false);
    for (std::size_t i = 0; i < count; ++i) {
      const oci::Descriptor& layer = result_.layers[i].source;
      keep[i] = options_.kept.contains(layer.digest);
      if (!read[i]) continue;
      DADI_TRY(files_[i], open(i, layer, keep[i]).context("{}", name_of(i)));
      readers[i] = &files_[i]->layer;
    }
    TraceLayout layout = lay_out(trace_, readers, keep);
    if (layout.reads.empty()) return Error::invalid_argument("the trace reads nothing of this image's data");
    for (std::size_t i = 0; i < count; ++i) {
      result_.layers[i].recorded = layout.layers[i].recorded;
      if (readers[i] != nullptr && !keep[i] && !layout.layers[i].anew && layout.layers[i].recorded.value > 0)
        observer_.note(fmt::format(
            "{} keeps its bytes: {}", name_of(i),
            layout.layers[i].too_many ? "in another order its index would be too long" : "its segments share data"));
    }
    result_.recorded = layout.recorded;
    result_.left_out = layout.left_out;
    return layout;
  }

  Result<std::optional<LayerFile>> open(std::size_t number, const oci::Descriptor& layer, bool keep) {
    SharedBlob blob;
    if (keep) {
      DADI_TRY(blob, source_.open_blob(layer));
    } else {
      observer_.layer_started(number, layer, layer.size);
      DADI_TRY(blob, fetch(layer));
      observer_.layer_finished();
    }
    DADI_TRY(LayerFile file, open_layer_file(std::move(blob), {.stop = options_.stop}));
    return std::optional<LayerFile>(std::move(file));
  }

  // A blob that was compared with its digest, to be read at random.
  Result<SharedBlob> fetch(const oci::Descriptor& layer) {
    if (options_.staging.empty()) {
      DADI_CHECK(pass(layer, nullptr));
      return source_.open_blob(layer);
    }
    if (!staging_) {
      DADI_TRY(auto made, oci::StagingFolder::create(options_.staging));
      staging_.emplace(std::move(made));
    }
    const std::string name = layer.digest.to_string();
    DADI_TRY(const auto sink,
             FileBlobSink::create(
                 staging_->path(), {0}, [&](const Digest&) { return name; }, FileBlobSink::Durable::kNothing));
    DADI_CHECK(pass(layer, sink.get()));
    DADI_CHECK(sink->finish({}));
    DADI_TRY(auto blob, FileBlob::open(staging_->path() / name));
    return SharedBlob(std::move(blob));
  }

  // Reads a blob to its end, where its digest is known to be right.
  Result<void> pass(const oci::Descriptor& blob, ByteSink* to) {
    DADI_TRY(const auto stream, source_.stream_blob(blob, {.stop = options_.stop}));
    for (Bytes done;;) {
      if (options_.stop.stop_requested()) return Error::cancelled("stopped");
      DADI_TRY(const auto piece, stream->next());
      if (piece.empty()) return {};
      if (to != nullptr) DADI_CHECK(to->write(piece));
      observer_.layer_advanced(done += Bytes{piece.size()});
    }
  }

  zfile::Options compression_of(const LayerFile& file) const {
    zfile::Options compression;
    if (file.zfile) {
      compression.algorithm = file.zfile->algorithm;
      compression.block_size = std::min(file.zfile->block_size, zfile::kMaxWrittenBlockSize);
    }
    if (options_.algorithm) compression.algorithm = *options_.algorithm;
    if (options_.block_size) compression.block_size = *options_.block_size;
    compression.level = options_.level;
    return compression;
  }

  Result<void> write_anew(std::size_t number, const TraceLayout::Layer& layout) {
    OptimizedLayer& layer = result_.layers[number];
    const LayerFile& file = *files_[number];
    observer_.layer_started(number, layer.source, file.unwrapped->size());
    DADI_TRY(const auto workers, CompressionWorkers::create(compression_of(file), options_.jobs));
    DADI_TRY(auto sink, destination_.create_blob(kLayerBlobHead));
    DADI_TRY(const auto blob, LayerBlob::create(std::move(sink), file.layer.info(), *workers));
    DADI_CHECK(write_segments(file.layer, layout, blob->layer()));
    DADI_CHECK(blob->finish_layer());
    DADI_TRY(const BlobIdentity written, blob->finish());
    observer_.layer_finished();
    layer.result.digest = written.digest;
    layer.result.size = written.size;
    auto& annotations = layer.result.annotations;
    if (annotations.contains(oci::kBlobDigest)) annotations[oci::kBlobDigest] = written.digest.to_string();
    if (annotations.contains(oci::kBlobSize)) annotations[oci::kBlobSize] = std::to_string(written.size.value);
    return {};
  }

  Result<void> write_segments(const lsmt::LayerReader& from, const TraceLayout::Layer& layout, lsmt::LayerWriter& to) {
    std::vector<std::byte> buffer(kDataPiece);
    Bytes done;
    for (const lsmt::Segment& segment : layout.order) {
      for (Sectors at; at < segment.length;) {
        if (options_.stop.stop_requested()) return Error::cancelled("stopped");
        const Sectors length = std::min(segment.length - at, whole_sectors(std::span<const std::byte>(buffer)));
        const auto data = std::span(buffer).first(to_bytes(length).value);
        DADI_CHECK(from.read_data(segment.moffset + at, data, {.stop = options_.stop}));
        DADI_CHECK(to.write(segment.offset + at, data));
        at += length;
        observer_.layer_advanced(done += to_bytes(length));
      }
    }
    for (const lsmt::Segment& segment : from.segments())
      if (segment.zeroed) DADI_CHECK(to.write_zeroes(segment.offset, segment.length));
    return {};
  }

  Result<oci::Descriptor> put_trace(const TraceLayout& layout) {
    DADI_TRY(const auto trace, trace::encode(layout.reads));
    result_.reads = (trace.size() - trace::kHeaderSize) / trace::kReadSize;
    DADI_TRY(const auto sink, destination_.create_blob({0}));
    DADI_CHECK(sink->write(oci::acceleration_layer(trace)));
    DADI_TRY(const BlobIdentity blob, sink->finish({}));
    return oci::acceleration_layer_descriptor(blob);
  }

  // The image with the layers that were written in the place of its own.
  Result<oci::SelectedImage> with_results(oci::SelectedImage image) const {
    std::vector<Digest> diff_ids = image.config.diff_ids();
    auto layer = result_.layers.begin();
    for (std::size_t i = 0; i < diff_ids.size(); ++i) {
      if (oci::form_of(image.manifest.layers[i]) == oci::LayerForm::kAcceleration) continue;
      if (layer->result.digest != layer->source.digest) diff_ids[i] = layer->result.digest;
      image.manifest.layers[i] = (layer++)->result;
    }
    DADI_TRY(image.config, oci::ImageConfig::parse(as_bytes(image.config.with_diff_ids(diff_ids))));
    return image;
  }

  // Those that were written here are there, too.
  Result<void> copy(std::size_t number, const oci::Descriptor& layer) {
    DADI_TRY(const bool there, destination_.has_blob(layer.digest, layer.size));
    if (there) return {};
    observer_.layer_started(number, layer, layer.size);
    DADI_TRY(const auto sink, destination_.create_blob({0}));
    DADI_CHECK(pass(layer, sink.get()));
    DADI_CHECK(sink->finish({}));
    observer_.layer_finished();
    return {};
  }

  // The image with the trace on top, in place of one that is there.
  Result<oci::Descriptor> put_image(const oci::SelectedImage& image, const oci::Descriptor& top) {
    oci::Manifest manifest = image.manifest;
    oci::ImageConfig config = image.config;
    if (oci::form_of(manifest.layers.back()) == oci::LayerForm::kAcceleration) {
      manifest.layers.pop_back();
      config = config.with_lowest_layers(manifest.layers.size());
    }
    for (std::size_t i = 0; i < manifest.layers.size(); ++i)
      DADI_CHECK(copy(i, manifest.layers[i]).context("layer {} ({})", i + 1, manifest.layers[i].digest.brief()));
    manifest.layers.push_back(top);
    const oci::LayerOrigin origin{.diff_id = top.digest, .created_by = "dadi optimize"};
    config = config.with_layers({&origin, 1});
    DADI_TRY(const oci::Descriptor written, oci::put_document(destination_, config.json(), manifest.config.media_type));
    manifest.config.digest = written.digest;
    manifest.config.size = written.size;
    return oci::put_document(destination_, manifest.to_json(), manifest.media_type);
  }

  const oci::ImageSource& source_;
  oci::ImageDestination& destination_;
  const std::span<const trace::Read> trace_;
  const OptimizeOptions& options_;
  OptimizeObserver& observer_;
  OptimizeResult result_;
  std::optional<oci::StagingFolder> staging_;
  std::vector<std::optional<LayerFile>> files_;  // of layers that the trace reads
};

}  // namespace

Result<OptimizeResult> optimize(const oci::ImageSource& source, oci::ImageDestination& destination,
                                std::span<const trace::Read> trace, const OptimizeOptions& options,
                                OptimizeObserver& observer) {
  return Optimize(source, destination, trace, options, observer).run();
}

}  // namespace dadi::pipeline
