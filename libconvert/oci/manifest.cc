#include "libconvert/oci/manifest.h"

#include "libconvert/oci/json.h"

namespace dadi::oci {

namespace {

// What manifests and indexes share: the version, and a media type that agrees with the descriptor's.
Result<std::string> check_head(const JsonObject& document, std::string_view media_type) {
  DADI_TRY(std::string own_type, document.text("mediaType"));
  if (is_docker_schema1(media_type) || is_docker_schema1(own_type) || document.find("fsLayers") != nullptr)
    return Error::unsupported("a manifest of Docker's schema 1")
        .with_hint("copy the image with a tool that converts it, e.g. skopeo copy --format v2s2");
  DADI_TRY(const std::uint64_t version, document.required_number("schemaVersion"));
  if (version != 2) return Error::unsupported("schema version {}, not 2", version);
  if (own_type.empty()) return std::string(media_type);
  if (!media_type.empty() && own_type != media_type)
    return Error::corruption("the document calls itself \"{}\", its descriptor \"{}\"", own_type, media_type);
  return own_type;
}

Result<std::vector<Descriptor>> parse_descriptors(const JsonObject& document, const char* name) {
  DADI_TRY(const Json* items, document.array(name));
  std::vector<Descriptor> descriptors;
  if (items == nullptr) return descriptors;
  descriptors.reserve(items->size());
  for (const Json& item : *items) {
    DADI_TRY(Descriptor descriptor, parse_descriptor(item, fmt::format("{}[{}]", name, descriptors.size())));
    descriptors.push_back(std::move(descriptor));
  }
  return descriptors;
}

Result<std::optional<Descriptor>> parse_subject(const JsonObject& document) {
  const Json* subject = document.find("subject");
  if (subject == nullptr) return std::optional<Descriptor>();
  DADI_TRY(Descriptor descriptor, parse_descriptor(*subject, "subject"));
  return std::optional(std::move(descriptor));
}

Json head_json(std::string_view media_type, const std::string& artifact_type) {
  Json json = Json::object();
  json["schemaVersion"] = 2;
  json["mediaType"] = media_type;
  if (!artifact_type.empty()) json["artifactType"] = artifact_type;
  return json;
}

Json list_json(const std::vector<Descriptor>& descriptors) {
  Json json = Json::array();
  for (const Descriptor& descriptor : descriptors) json.push_back(oci::to_json(descriptor));
  return json;
}

void add_tail(Json& json, const std::optional<Descriptor>& subject, const Annotations& annotations) {
  if (subject) json["subject"] = to_json(*subject);
  if (!annotations.empty()) json["annotations"] = annotations;
}

}  // namespace

Result<Manifest> Manifest::parse(std::span<const std::byte> bytes, std::string_view media_type) {
  DADI_TRY(const Json json, parse_json(bytes));
  DADI_TRY(const JsonObject document, JsonObject::of(json, "manifest"));
  DADI_TRY(std::string own_type, check_head(document, media_type));
  if (own_type.empty()) own_type = kOciManifest;
  if (!is_manifest(own_type)) return Error::corruption("\"{}\" is not a manifest's media type", own_type);
  // One document that reads as two things is a known attack.
  if (document.find("manifests") != nullptr) return Error::corruption("manifest: \"manifests\" is an index's field");
  if (document.find("config") == nullptr) return Error::corruption("manifest: \"config\" is missing");
  DADI_TRY(Descriptor config, parse_descriptor(*document.find("config"), "config"));
  Manifest manifest{.media_type = std::move(own_type),
                    .artifact_type = {},
                    .config = std::move(config),
                    .layers = {},
                    .subject = {},
                    .annotations = {}};
  DADI_TRY(manifest.artifact_type, document.text("artifactType"));
  DADI_TRY(manifest.layers, parse_descriptors(document, "layers"));
  DADI_TRY(manifest.subject, parse_subject(document));
  DADI_TRY(manifest.annotations, document.annotations("annotations"));
  return manifest;
}

std::string Manifest::to_json() const {
  Json json = head_json(media_type, artifact_type);
  json["config"] = oci::to_json(config);
  json["layers"] = list_json(layers);
  add_tail(json, subject, annotations);
  return dump_json(json);
}

Result<Index> Index::parse(std::span<const std::byte> bytes, std::string_view media_type) {
  DADI_TRY(const Json json, parse_json(bytes));
  DADI_TRY(const JsonObject document, JsonObject::of(json, "index"));
  DADI_TRY(std::string own_type, check_head(document, media_type));
  if (own_type.empty()) own_type = kOciIndex;
  if (!is_index(own_type)) return Error::corruption("\"{}\" is not an index's media type", own_type);
  for (const char* name : {"config", "layers"})
    if (document.find(name) != nullptr) return Error::corruption("index: \"{}\" is a manifest's field", name);
  Index index{
      .media_type = std::move(own_type), .artifact_type = {}, .manifests = {}, .subject = {}, .annotations = {}};
  DADI_TRY(index.artifact_type, document.text("artifactType"));
  DADI_TRY(index.manifests, parse_descriptors(document, "manifests"));
  DADI_TRY(index.subject, parse_subject(document));
  DADI_TRY(index.annotations, document.annotations("annotations"));
  return index;
}

std::string Index::to_json() const {
  Json json = head_json(media_type, artifact_type);
  json["manifests"] = list_json(manifests);
  add_tail(json, subject, annotations);
  return dump_json(json);
}

}  // namespace dadi::oci
