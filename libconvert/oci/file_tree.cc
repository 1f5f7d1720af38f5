#include "libconvert/oci/file_tree.h"

#include "libformat/blob/file_blob.h"

namespace dadi::oci {

Result<SharedBlob> FolderTree::open(std::string_view name) const {
  const std::filesystem::path path = folder_ / name;
  std::error_code failure;
  const auto status = std::filesystem::status(path, failure);  // follows links
  if (status.type() == std::filesystem::file_type::not_found)
    return Error::not_found("{} does not exist", path.string());
  // Looked at before it is opened: a layout has files in it, and opening other things can have effects.
  if (!failure && status.type() != std::filesystem::file_type::regular)
    return Error::corruption("{} is not a regular file", path.string());
  DADI_TRY(auto blob, FileBlob::open(path));
  return SharedBlob(std::move(blob));
}

bool FolderTree::contains(std::string_view name) const {
  std::error_code ignored;
  return std::filesystem::exists(folder_ / name, ignored);
}

Result<std::vector<std::byte>> read_file(const FileTree& tree, std::string_view name, Bytes limit) {
  DADI_TRY(const SharedBlob blob, tree.open(name));
  if (blob->size() > limit)
    return Error::corruption("{} has {} bytes, more than the {} that are accepted", name, blob->size().value,
                             limit.value);
  return read_range(*blob, {0}, blob->size()).context("{}", name);
}

}  // namespace dadi::oci
