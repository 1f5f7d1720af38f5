// dadi inspect REF
#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/compression.h"
#include "apps/dadi/printable.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/table.h"
#include "apps/image/carried_trace.h"
#include "libconvert/oci/converted.h"
#include "libformat/base/bytes.h"

namespace dadi {
namespace {

struct InspectOptions {
  ImageOptions image;
  bool raw = false;
  bool config = false;
};

std::string_view name_of(oci::LayerForm form) {
  switch (form) {
    case oci::LayerForm::kArchive:
      return "archive";
    case oci::LayerForm::kBlock:
      return "block";
    case oci::LayerForm::kTurbo:
      return "turbo";
    case oci::LayerForm::kAcceleration:
      return "acceleration";
  }
  return "unknown";
}

// What a layer's index adds up to.
struct SegmentTotals {
  std::uint64_t segments = 0;
  std::uint64_t zeroed = 0;
  Sectors data;
};

SegmentTotals totals_of(const lsmt::LayerReader& layer) {
  SegmentTotals totals;
  for (const lsmt::Segment& segment : layer.segments()) {
    ++totals.segments;
    if (segment.zeroed) {
      ++totals.zeroed;
    } else {
      totals.data += segment.length;
    }
  }
  return totals;
}

std::string_view name_of(lsmt::LayerReader::Kind kind) {
  switch (kind) {
    case lsmt::LayerReader::Kind::kCommitted:
      return "committed";
    case lsmt::LayerReader::Kind::kSealed:
      return "sealed";
    case lsmt::LayerReader::Kind::kAppendOnly:
      return "append-only";
    case lsmt::LayerReader::Kind::kSparse:
      return "sparse";
  }
  return "unknown";
}

Json annotations_json(const oci::Annotations& annotations) {
  Json object = Json::object();
  for (const auto& [name, value] : annotations) object[as_utf8(name)] = as_utf8(value);
  return object;
}

Json descriptor_json(const oci::Descriptor& descriptor) {
  Json object = {{"digest", descriptor.digest.to_string()},
                 {"size", descriptor.size.value},
                 {"media_type", as_utf8(descriptor.media_type)}};
  if (!descriptor.annotations.empty()) object["annotations"] = annotations_json(descriptor.annotations);
  return object;
}

Json layer_json(const BlockLayer& layer) {
  Json object = layer.descriptor ? descriptor_json(*layer.descriptor)
                                 : Json{{"path", as_utf8(layer.name)}, {"size", layer.blob->size().value}};
  const lsmt::LayerInfo& info = layer.reader.info();
  const SegmentTotals totals = totals_of(layer.reader);
  object["form"] = "block";
  object["kind"] = name_of(layer.reader.kind());
  object["tar_envelope"] = layer.envelope.has_value();
  if (layer.zfile) {
    object["compression"] = {{"algorithm", zfile::name_of(layer.zfile->algorithm)},
                             {"block_size", layer.zfile->block_size},
                             {"blocks", layer.zfile->blocks},
                             {"block_checksums", layer.zfile->verify},
                             {"raw_size", layer.zfile->raw_size.value}};
  } else {
    object["compression"] = nullptr;
  }
  object["segments"] = totals.segments;
  object["zeroed_segments"] = totals.zeroed;
  object["mapped_bytes"] = to_bytes(totals.data).value;
  object["virtual_size"] = info.virtual_size.value;
  object["uuid"] = info.uuid.to_string();
  object["parent_uuid"] = info.parent.to_string();
  object["user_tag"] = as_utf8(info.user_tag);
  return object;
}

// Every layer but the lowest names the one below it as its parent.
bool chain_holds(const std::vector<BlockLayer>& layers) {
  for (std::size_t i = 1; i < layers.size(); ++i) {
    if (layers[i].reader.info().parent != layers[i - 1].reader.info().uuid) return false;
  }
  return layers.front().reader.info().parent.is_null();
}

Json image_json(const oci::SelectedImage& image) {
  return {{"digest", image.descriptor.digest.to_string()},
          {"media_type", as_utf8(image.manifest.media_type)},
          {"platform", as_utf8(image.platform.to_string())},
          {"config", descriptor_json(image.manifest.config)},
          {"annotations", annotations_json(image.manifest.annotations)}};
}

void print_image(Session& session, const std::string& reference, const oci::SelectedImage& image) {
  Output& out = session.out();
  out.print("reference     {}\n", session.shown(reference));
  out.print("manifest      {}\n", image.descriptor.digest.to_string());
  out.print("media type    {}\n", session.shown(image.manifest.media_type));
  out.print("config        {}\n", image.manifest.config.digest.to_string());
  out.print("platform      {}\n", session.shown(image.platform.to_string()));
  for (const auto& [name, value] : image.manifest.annotations) {
    out.print("annotation    {}={}\n", session.shown(name), session.shown(value));
  }
}

// The digests of an ordinary image's converted forms, where its store lists them. That it does not say is no failure.
std::vector<Digest> converted_forms(Session& session, const StoredImage& stored) {
  std::vector<Digest> forms;
  const auto referrers = stored.source->referrers(stored.image.descriptor.digest, oci::kNativeArtifactType);
  if (!referrers) session.note(fmt::format("whether it has a converted form: {}", referrers.error().message()));
  if (referrers)
    for (const oci::Descriptor& one : *referrers) forms.push_back(one.digest);
  return forms;
}

// An ordinary image: what the manifest says, and no more.
void inspect_archives(Session& session, const oci::Reference& reference, const oci::SelectedImage& image,
                      const std::vector<Digest>& forms) {
  Bytes stored;
  for (const auto& layer : image.manifest.layers) stored += layer.size;
  if (session.options.json) {
    Json object = {{"reference", as_utf8(reference.to_string())}, {"form", "archive"}};
    object.update(image_json(image));
    object["size"] = stored.value;
    object["converted"] = Json::array();
    for (const Digest& form : forms) object["converted"].push_back(form.to_string());
    object["layers"] = Json::array();
    for (const auto& layer : image.manifest.layers) {
      object["layers"].push_back(descriptor_json(layer));
      object["layers"].back()["form"] = name_of(oci::form_of(layer));
    }
    session.answer(object);
    return;
  }
  print_image(session, reference.to_string(), image);
  for (const Digest& form : forms) session.out().print("converted     {}\n", form.to_string());
  session.out().print("stored        {} in {}\n\n", format_size(stored),
                      format_count(image.manifest.layers.size(), "layer"));
  Table table({{"LAYER", Table::Align::kRight}, {"DIGEST"}, {"SIZE", Table::Align::kRight}, {"FORM"}, {"MEDIA TYPE"}});
  for (std::size_t i = 0; i < image.manifest.layers.size(); ++i) {
    const auto& layer = image.manifest.layers[i];
    table.add({std::to_string(i + 1), layer.digest.brief(), format_size(layer.size),
               std::string(name_of(oci::form_of(layer))), session.shown(layer.media_type)});
  }
  session.out().text(table.render());
}

void print_layers(Session& session, const std::vector<BlockLayer>& layers) {
  using enum Table::Align;
  Table table({{"LAYER", kRight},
               {"BLOB"},
               {"SIZE", kRight},
               {"RAW", kRight},
               {"COMPRESSION"},
               {"SEGMENTS", kRight},
               {"ZEROED", kRight},
               {"DATA", kRight},
               {"UUID"}});
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const BlockLayer& layer = layers[i];
    const SegmentTotals totals = totals_of(layer.reader);
    table.add({std::to_string(i + 1), layer.descriptor ? layer.descriptor->digest.brief() : session.shown(layer.name),
               format_size(layer.blob->size()), format_size(layer.reader.blob()->size()),
               layer.zfile ? describe(layer.zfile->algorithm, layer.zfile->block_size) : "none",
               std::to_string(totals.segments), std::to_string(totals.zeroed), format_size(to_bytes(totals.data)),
               layer.reader.info().uuid.to_string()});
  }
  session.out().text(table.render());
}

// Puts the trace of the image into `object`, and gives it for people; "" if there is none. That it cannot be read is no
// failure.
std::string describe_trace(Session& session, const StoredImage& stored, Json& object) {
  const ReadContext context = session.read_context();
  const auto found = find_trace(stored, context);
  if (!found) session.note(fmt::format("a trace beside the image: {}", found.error().message()));
  if (!found || !*found) return "";
  const FoundTrace& trace = **found;
  Json& told = object["trace"] = descriptor_json(trace.layer);
  if (trace.artifact) told["artifact"] = trace.artifact->digest.to_string();
  const auto reads = read_trace(*stored.source, trace, context);
  if (!reads) {
    session.note(fmt::format("the image's trace: {}", reads.error().message()));
    return "there is one, and it cannot be used";
  }
  const Bytes bytes = trace::total(*reads);
  told["reads"] = reads->size();
  told["bytes"] = bytes.value;
  std::string text = fmt::format("{}, {}", format_count(reads->size(), "read"), format_size(bytes));
  if (trace.artifact) text += fmt::format(", beside the image: {}", trace.artifact->digest.to_string());
  return text;
}

Result<void> inspect_blocks(Session& session, const InspectOptions& options) {
  DADI_TRY(BlockImage image, open_block_image(session, options.image));
  Bytes stored;
  for (const BlockLayer& layer : image.layers) stored += layer.blob->size();
  Json object = {{"reference", as_utf8(image.reference)}, {"form", "block"}};
  if (image.stored) object.update(image_json(image.stored->image));
  object["size"] = stored.value;
  object["uuid_chain"] = chain_holds(image.layers);
  std::string trace;
  if (image.stored) trace = describe_trace(session, *image.stored, object);
  object["layers"] = Json::array();
  for (const BlockLayer& layer : image.layers) object["layers"].push_back(layer_json(layer));

  // Stacking takes the layers, so they are described before it. Here only its results are needed.
  std::vector<BlockLayer> layers = image.layers;
  DADI_TRY(const auto device, stack(std::move(image.layers)));
  object["virtual_size"] = to_bytes(device->size()).value;
  object["segments"] = device->index().segments();
  if (session.options.json) {
    session.answer(object);
    return {};
  }
  Output& out = session.out();
  if (image.stored) {
    print_image(session, image.reference, image.stored->image);
  } else {
    out.print("reference     {}\n", session.shown(image.reference));
  }
  out.print("stored        {} in {}\n", format_size(stored), format_count(layers.size(), "layer"));
  out.print("virtual size  {}, {} segments when merged\n", format_size(to_bytes(device->size())),
            device->index().segments());
  out.print("UUID chain    {}\n", chain_holds(layers) ? "every layer names the one below it" : "broken, or not stated");
  if (!trace.empty()) out.print("trace         {}\n", trace);
  out.print("\n");
  print_layers(session, layers);
  return {};
}

// The document's bytes as they are stored, verified against their digest.
Result<void> print_document(Session& session, const StoredImage& stored, bool config) {
  const oci::Descriptor& descriptor = config ? stored.image.manifest.config : stored.image.descriptor;
  DADI_TRY(const auto document,
           oci::read_document(*stored.source, descriptor, config ? oci::kConfigLimit : oci::kManifestLimit));
  session.out().text(as_text(document));
  if (session.out().is_terminal()) session.out().text("\n");
  return {};
}

Result<void> inspect(Session& session, const InspectOptions& options) {
  DADI_TRY(const oci::Reference reference, parse_image_reference(session, options.image.reference));
  const bool documents = options.raw || options.config;
  if (reference.kind == oci::Reference::Kind::kLayers || reference.kind == oci::Reference::Kind::kConfig) {
    if (documents) return Error::invalid_argument("block layers as files have no manifest and no config");
    return inspect_blocks(session, options);
  }
  DADI_TRY(const StoredImage stored, open_stored_image(session, reference, options.image));
  if (documents) return print_document(session, stored, options.config);
  if (oci::is_converted(stored.image.manifest)) return inspect_blocks(session, options);
  inspect_archives(session, reference, stored.image, converted_forms(session, stored));
  return {};
}

}  // namespace

void add_inspect(CommandLine& line, Session& session) {
  auto& options = session.keep<InspectOptions>();
  auto command = line.add("inspect", "What an image consists of, before or after conversion",
                          "dadi inspect oci:debian-dadi\n"
                          "dadi inspect oci:debian\n"
                          "dadi inspect --json oci:debian-dadi | jq '.layers[].segments'\n"
                          "dadi inspect --raw oci:debian-dadi | jq .");
  add_image_options(command, options.image);
  command.flag("--raw", options.raw, "The manifest, byte for byte")
      .flag("--config", options.config, "The image's config, byte for byte")
      .instead_of_previous();
  command.run([&] { session.finish(inspect(session, options).context("inspect {}", options.image.reference)); });
}

}  // namespace dadi
