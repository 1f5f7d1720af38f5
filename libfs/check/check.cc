#include "libfs/check/check.h"

#include "libfs/check/state.h"

namespace dadi::fs {
namespace {

constexpr std::uint64_t kMostBlocks = std::uint64_t{1} << 32;

Result<void> run_passes(CheckState& state) {
  DADI_CHECK(check_superblock(state));
  DADI_CHECK(check_group_descriptors(state));
  DADI_CHECK(check_inodes(state));
  DADI_CHECK(check_directories(state));
  check_tree(state);
  DADI_CHECK(check_bitmaps(state));
  return name_places(state);
}

CheckReport report_of(Findings& findings, const CheckFacts& facts) {
  CheckReport report;
  report.fault_count = findings.fault_count();
  report.facts = facts;
  for (Findings::Item& item : findings.faults()) report.faults.push_back({item.place.text, item.text});
  for (Findings::Item& item : findings.notes()) report.notes.push_back({item.place.text, item.text});
  return report;
}

}  // namespace

Result<CheckReport> check_filesystem(std::shared_ptr<const BlockReader> device, const ReadContext& context) {
  Findings findings;
  auto image = Image::open(std::move(device), context);
  if (!image) {
    if (image.error().code() != ErrorCode::kCorruption) return std::move(image).error();
    findings.fault(Place::superblock(), "{}", image.error().message());
    return report_of(findings, {});
  }
  const Superblock& superblock = (*image)->superblock();
  if (superblock.block_count > kMostBlocks)
    return Error::unsupported("checking a file system of {} blocks", superblock.block_count);
  CheckState state(**image, findings);
  DADI_CHECK(run_passes(state));
  return report_of(findings, state.facts);
}

}  // namespace dadi::fs
