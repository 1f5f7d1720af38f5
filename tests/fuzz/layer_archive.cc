// Layers' archives, planned as file systems.
// Input: a byte of bits, then drafts of layers; or one layer as a tar archive, whose checksums may be put right, on a
// layer that has something of everything.
// Holds: the writer and the model refuse the same entries, and agree on the file system, as our reader sees it; our
// verifier finds it sound; of a sample, e2fsck does too, and a layer planned again is the same.
#include <optional>

#include "libfs/check/check.h"
#include "libfs/ext4/volume.h"
#include "libfs/model/compare.h"
#include "libfs/model/tree_model.h"
#include "tests/fuzz/archive_draft.h"
#include "tests/fuzz/e2fsck.h"
#include "tests/fuzz/planned_layers.h"
#include "tests/fuzz/tar_checksums.h"

namespace dadi::fuzz {
namespace {

// Bits of the first byte; the two highest choose the device's size.
constexpr unsigned kRaw = 1;    // a tar archive follows
constexpr unsigned kSeal = 2;   // its checksums are put right
constexpr unsigned kAlone = 4;  // it has nothing below

Result<void> apply(fs::TreeModel& model, const Data& tar) {
  fs::PieceSource source(tar);
  DADI_TRY(const auto archive, fs::LayerArchive::open(source));
  return model.apply(*archive);
}

// What the file system has no room for, or no way to say, the model takes all the same.
bool is_limit(const Error& error) {
  return error.code() == ErrorCode::kExhausted || error.code() == ErrorCode::kUnsupported ||
         error.message().find("POSIX ACL") != std::string::npos;
}

void require_sound(const PlannedLayers& planned, const fs::TreeModel* model, bool with_e2fsck) {
  const auto device = planned.device();
  const auto report = must(fs::check_filesystem(device), "a file system of ours is checked");
  if (!report.sound()) fail(report.faults[0].place + ": " + report.faults[0].text);
  if (!report.notes.empty()) fail("noted of a file system of ours: " + report.notes[0].text);
  const auto volume = must(fs::Volume::open(device), "a file system of ours opens");
  if (model != nullptr) {
    const auto difference = must(fs::first_difference(*model, *volume), "a file system of ours is compared");
    if (difference) fail(*difference);
  }
  if (!with_e2fsck) return;
  const std::string complaint = e2fsck(*device);
  if (!complaint.empty()) fail(complaint);
}

// Applies layers until one is refused.
void plan(const std::vector<Data>& layers, Bytes size, std::span<const std::byte> input) {
  PlannedLayers planned(size, is_for_e2fsck(input));
  fs::TreeModel model;
  bool modelled = true;
  for (const Data& layer : layers) {
    const auto by_model = apply(model, layer);
    const auto written = planned.add(layer);
    if (written && by_model) continue;
    modelled = false;
    if (written) fail("the writer takes what the model refuses: " + by_model.error().message());
    if (is_limit(written.error())) break;
    if (by_model) fail("the writer refuses what the model takes: " + written.error().message());
    if (by_model.error().code() != written.error().code())
      fail("refused as \"" + written.error().message() + "\" and \"" + by_model.error().message() + "\"");
    break;
  }
  if (planned.layers() > 0) require_sound(planned, modelled ? &model : nullptr, is_for_e2fsck(input));
}

Data everything() {
  fs::TarBuilder tar;
  tar.file("f", "content").directory("d").file("d/f", std::string(9000, 'f')).hardlink("d/h", "f").symlink("s", "d");
  tar.symlink("long", std::string(100, 'l')).device("b", 'b', 8, 1).fifo("p").symlink("loop", "loop");
  tar.pax({{"SCHILY.xattr.user.x", "v"}, {"SCHILY.xattr.user.large", std::string(900, 'v')}}).file("x", "");
  for (int i = 0; i < 40; ++i) tar.file("d/" + std::to_string(i) + std::string(220, 'n'));
  return tar.finish();
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi;
  constexpr std::array<std::uint64_t, 4> kMebibytes{8, 2, 16, 300};
  fuzz::Input input(data, size);
  const unsigned bits = input.byte();
  std::vector<fuzz::Data> layers;
  if (bits & fuzz::kRaw) {
    const auto rest = input.rest();
    fuzz::Data tar(rest.begin(), rest.end());
    if (bits & fuzz::kSeal) fuzz::seal_tar_headers(tar);
    static const fuzz::Data below = fuzz::everything();
    if (!(bits & fuzz::kAlone)) layers.push_back(below);
    layers.push_back(std::move(tar));
  } else {
    while (!input.empty() && layers.size() < 5) layers.push_back(fuzz::ArchiveDraft(input).take());
  }
  fuzz::plan(layers, {kMebibytes[bits >> 6] << 20}, std::as_bytes(std::span(data, size)));
  return 0;
}
