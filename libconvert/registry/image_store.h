// Images on registries, and in every other store: what the command line opens references with.
#pragma once

#include <memory>

#include "libconvert/oci/image_store.h"
#include "libconvert/registry/access.h"

namespace dadi::registry {

// oci::open_source(), and registries, whose blobs are opened at once and read by range requests (see RemoteBlob): that
// one is not there shows when it is read.
// Errors: also those of Repository.
Result<std::unique_ptr<oci::ImageSource>> open_source(const oci::Reference& reference, const Access& access);

// oci::open_destination(), and registries: blobs are staged in access.staging, uploaded while others are written, and
// the image appears under its tag, or its digest, with commit(). Blobs that were uploaded stay when it is not reached:
// the next run finds them.
Result<std::unique_ptr<oci::ImageDestination>> open_destination(const oci::Reference& reference, const Access& access);

// oci::open_referrer_destination(), and the repository of `reference`.
Result<std::unique_ptr<oci::ImageDestination>> open_referrer_destination(const oci::Reference& reference,
                                                                         const Access& access);

}  // namespace dadi::registry
