#include "apps/dadi/carry_trace.h"

#include "apps/dadi/new_image.h"
#include "apps/image/carried_trace.h"
#include "libconvert/pipeline/copy.h"
#include "libconvert/pipeline/trace_referrer.h"
#include "libconvert/registry/image_store.h"

namespace dadi {

Result<CarriedTrace> carry_on_top(Session& session, const ImageOptions& image, std::span<const trace::Read> trace,
                                  const std::string& destination) {
  DADI_TRY(const oci::Reference from, parse_image_reference(session, image.reference));
  DADI_TRY(const oci::Reference to, oci::parse_reference(destination));
  DADI_TRY(const auto encoded, trace::encode(trace));
  pipeline::CopyOptions options{.platform = {}, .all = false, .trace = encoded, .stop = session.stop()};
  if (!image.platform.empty()) {
    DADI_TRY(options.platform, oci::parse_platform(image.platform));
  }
  registry::Access access = registry_access(session, image.registry);
  DADI_TRY(const auto source, registry::open_source(from, access));
  if (from.kind == oci::Reference::Kind::kRegistry && from.host == to.host && from.repository != to.repository)
    access.mount_from = from.repository;
  DADI_TRY(const auto writing, registry::open_destination(to, access).context("{}", to.to_string()));
  CopyProgress observer(session);
  DADI_TRY(const pipeline::CopyResult result, pipeline::copy(*source, *writing, options, observer));
  return CarriedTrace{result.root.digest,
                      {{"reference", to.to_string()},
                       {"digest", result.root.digest.to_string()},
                       {"media_type", result.root.media_type},
                       {"blobs_copied", result.blobs.blobs_copied},
                       {"blobs_there", result.blobs.blobs_there},
                       {"bytes_copied", result.blobs.bytes_copied.value}}};
}

Result<CarriedTrace> carry_beside(Session& session, const ImageOptions& image, std::span<const trace::Read> trace) {
  DADI_TRY(oci::Reference reference, parse_image_reference(session, image.reference));
  DADI_TRY(const auto encoded, trace::encode(trace));
  const registry::Access access = registry_access(session, image.registry);
  const auto note = [&session](std::string_view text) { session.note(text); };
  DADI_TRY(const StoredImage stored, open_converted_image(reference, image.platform, note, access));
  if (trace_on_top(stored)) session.note("the image carries a trace on top, which counts, and not what is beside it");
  DADI_TRY(const auto referrer, pipeline::make_trace_referrer(*stored.source, stored.image.descriptor, encoded));
  if (!referrer.there) {
    DADI_TRY(const auto writing,
             registry::open_referrer_destination(reference, access).context("{}", reference.to_string()));
    DADI_CHECK(pipeline::put_trace_referrer(referrer, *writing));
  }
  reference.tag.clear();
  reference.digest = referrer.manifest.digest;
  return CarriedTrace{referrer.manifest.digest,
                      {{"reference", reference.to_string()},
                       {"digest", referrer.manifest.digest.to_string()},
                       {"media_type", referrer.manifest.media_type},
                       {"subject", stored.image.descriptor.digest.to_string()},
                       {"there", referrer.there}}};
}

}  // namespace dadi
