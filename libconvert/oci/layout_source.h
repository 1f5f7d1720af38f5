// Images in OCI layouts, as folders or archives. Internal to this folder. Source: the OCI image specification,
// image-layout.md.
#pragma once

#include <memory>
#include <string>

#include "libconvert/oci/file_tree.h"
#include "libconvert/oci/image_store.h"
#include "libconvert/oci/manifest.h"

namespace dadi::oci {

inline constexpr char kLayoutFile[] = "oci-layout";
inline constexpr char kIndexFile[] = "index.json";
inline constexpr char kLayoutContent[] = R"({"imageLayoutVersion":"1.0.0"})";
inline constexpr Bytes kIndexLimit{16 << 20};  // of index.json, which many images may share

// "blobs/sha256/<hex>".
std::string blob_path(const Digest& digest);

// Whether a tree says that it is a layout, of a version that is known. Errors: not_found, corruption, unsupported.
Result<void> check_layout_version(const FileTree& tree);

// The image that `reference`'s tag or digest means. Errors: those of open_source().
Result<std::unique_ptr<ImageSource>> open_layout(std::unique_ptr<FileTree> tree, const Reference& reference);

}  // namespace dadi::oci
