// Images as `docker save` writes them. Internal to this folder. Source of the format: the Docker image specification,
// v1.2, "Combined Image JSON + Filesystem Changeset Format".
#pragma once

#include <memory>

#include "libconvert/oci/file_tree.h"
#include "libconvert/oci/image_store.h"

namespace dadi::oci {

inline constexpr char kDockerArchiveFile[] = "manifest.json";

// The image that `reference`'s tag (NAME:TAG) or digest (its id, the config's digest) means. The archive has no
// manifest of the kind that registries know, so one is made up. The digest of a plain layer in it is the diff id that
// the config states; a compressed one is hashed here. Errors: those of open_source().
Result<std::unique_ptr<ImageSource>> open_docker_archive(std::unique_ptr<TarTree> tree, const Reference& reference);

}  // namespace dadi::oci
