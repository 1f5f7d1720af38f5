// Archives that wrap or hold other files: the tar envelope around a layer, and image archives read in place.
// Input: a byte of bits, then a tar archive whose checksums may be put right; or a payload to be wrapped.
// Holds: a payload found, and every member, lie within the archive; what we wrap is found again.
#include "libformat/tar_envelope/tar_envelope.h"

#include "libconvert/oci/file_tree.h"
#include "libformat/blob/memory_blob.h"
#include "tests/fuzz/tar_checksums.h"

namespace dadi::fuzz {
namespace {

constexpr unsigned kSeal = 1;       // put checksums right
constexpr unsigned kRoundTrip = 2;  // the rest is a payload

void find(Data archive, std::string_view names) {
  const auto blob = std::make_shared<MemoryBlob>(std::move(archive));
  const auto payload = tar_envelope::find_payload(*blob);
  if (payload && *payload) {
    require((*payload)->offset.value % 512 == 0, "a payload begins at a block");
    must(read_range(*blob, (*payload)->offset, (*payload)->size), "a payload lies within its archive");
  }
  const auto tree = oci::TarTree::open(blob);
  if (!tree) return;
  for (std::size_t at = 0; at < names.size(); at += 512) {
    const std::string_view field = names.substr(at, 100);
    const auto member = (*tree)->open(field.substr(0, field.find('\0')));
    if (member) must(read_range(**member, {0}, (*member)->size()), "a member lies within its archive");
  }
}

void wrap_and_find(std::span<const std::byte> payload) {
  const auto head = tar_envelope::head({payload.size()});
  Data archive(head.begin(), head.end());
  archive.insert(archive.end(), payload.begin(), payload.end());
  archive.resize(archive.size() + tar_envelope::tail_size({payload.size()}).value);
  const auto found = must(tar_envelope::find_payload(MemoryBlob(std::move(archive))), "what we wrapped is read");
  const tar_envelope::Payload expected{tar_envelope::kHeadSize, {payload.size()}};
  require(found == std::optional(expected), "what we wrapped is found");
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi::fuzz;
  Input input(data, size);
  const unsigned bits = input.byte();
  const auto rest = input.rest();
  if (bits & kRoundTrip) {
    wrap_and_find(rest);
    return 0;
  }
  Data archive(rest.begin(), rest.end());
  if (bits & kSeal) seal_tar_headers(archive);
  find(archive, dadi::as_text(archive));
  return 0;
}
