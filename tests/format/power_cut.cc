#include "tests/format/power_cut.h"

#include <algorithm>
#include <cstring>

namespace dadi::test {

namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::size_t kSector = 512;

}  // namespace

void CutFile::Content::resize(std::size_t size) {
  bytes.resize(size);
  blocks.resize(divide_up(size, kBlock));
}

void CutFile::Content::write(std::size_t offset, std::span<const std::byte> data) {
  if (data.empty()) return;
  if (offset + data.size() > bytes.size()) resize(offset + data.size());
  std::memcpy(bytes.data() + offset, data.data(), data.size());
  for (std::size_t i = offset / kBlock; i <= (offset + data.size() - 1) / kBlock; ++i) blocks[i] = true;
}

void CutFile::Content::punch(std::size_t offset, std::size_t length) {
  const std::size_t end = std::min(offset + length, bytes.size());
  if (offset >= end) return;
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(offset), bytes.begin() + static_cast<std::ptrdiff_t>(end),
            std::byte{0});
  for (std::size_t i = divide_up(offset, kBlock); i < end / kBlock; ++i) blocks[i] = false;
}

Result<void> CutFile::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& /*context*/) const {
  if (offset.value + out.size() > now_.bytes.size()) return Error::io("a read past the file's end");
  std::memcpy(out.data(), now_.bytes.data() + offset.value, out.size());
  return {};
}

void CutFile::Content::apply(const Change& change) {
  if (change.kind == Change::Kind::kWrite) write(change.offset, change.data);
  if (change.kind == Change::Kind::kResize) resize(change.length);
  if (change.kind == Change::Kind::kPunch) punch(change.offset, change.length);
}

Result<void> CutFile::change(Change change) {
  now_.apply(change);
  changes_.push_back(std::move(change));
  disk().after_change();
  return {};
}

Result<void> CutFile::write_at(Bytes offset, std::span<const std::byte> data) {
  for (const std::string& name : disk().failing) {
    const auto failing = disk().files.find(name);
    if (failing == disk().files.end() || failing->second.get() != this) continue;
    const auto half = data.first(data.size() / 2 / kSector * kSector);
    DADI_CHECK(change({Change::Kind::kWrite, offset.value, half.size(), {half.begin(), half.end()}}));
    return Error::exhausted("no room for writing over it");
  }
  if (disk().room) {
    Content then = now_;
    then.write(offset.value, data);
    const std::size_t more = static_cast<std::size_t>(std::ranges::count(then.blocks, true)) * kBlock - room();
    if (disk().taken() + more > *disk().room) {
      if (data.size() > kSector) DADI_CHECK(write_at(offset, data.first(kSector)));  // as much as there is room for
      return Error::exhausted("no room");
    }
  }
  return change({Change::Kind::kWrite, offset.value, data.size(), {data.begin(), data.end()}});
}

Result<void> CutFile::resize(Bytes size) {
  return change({Change::Kind::kResize, 0, size.value, {}});
}

Result<void> CutFile::punch(Bytes offset, Bytes length) {
  disk().punched += length.value;
  return change({Change::Kind::kPunch, offset.value, length.value, {}});
}

Result<std::optional<WritableFile::Stretch>> CutFile::next_data(Bytes from) const {
  std::size_t begin = from.value / kBlock;
  while (begin < now_.blocks.size() && !now_.blocks[begin]) ++begin;
  if (begin >= now_.blocks.size()) return std::optional<Stretch>();
  std::size_t end = begin;
  while (end < now_.blocks.size() && now_.blocks[end]) ++end;
  return Stretch{{std::max<std::size_t>(from.value, begin * kBlock)}, {std::min(end * kBlock, now_.bytes.size())}};
}

Result<void> CutFile::sync() {
  if (disk().sync_fails) return Error::io("the disk is gone");
  ++disk().syncs;
  for (const Change& change : changes_) durable_.apply(change);
  changes_.clear();
  disk().after_change();
  return {};
}

std::size_t CutFile::room() const {
  return static_cast<std::size_t>(std::ranges::count(now_.blocks, true)) * kBlock;
}

CutFile::Content CutFile::after_power_cut(Random& random, bool whole_blocks) const {
  Content disk = durable_;
  Content shadow;  // with all changes so far, if that matters
  if (whole_blocks) shadow = durable_;
  const std::uint64_t chance = below(random, 4);  // of a sector to be there: none, some, most, all
  const auto there = [&] { return chance == 3 || (chance > 0 && below(random, chance == 1 ? 2 : 8) != 0); };
  for (const Change& change : changes_) {
    if (change.kind == Change::Kind::kResize) {
      if (whole_blocks) shadow.resize(change.length);
      if (there()) disk.resize(change.length);
      continue;
    }
    if (change.kind == Change::Kind::kPunch) {
      if (whole_blocks) shadow.punch(change.offset, change.length);
      for (std::size_t at = change.offset; at < change.offset + change.length;) {
        const std::size_t end = std::min(round_up(at + 1, kBlock), change.offset + change.length);
        if (there()) disk.punch(at, end - at);
        at = end;
      }
      continue;
    }
    if (whole_blocks) shadow.write(change.offset, change.data);
    const std::size_t end = change.offset + change.data.size();
    if (end > disk.bytes.size() && below(random, 2) == 0 && chance > 0) disk.resize(end);
    for (std::size_t at = change.offset; at < end;) {
      const bool fresh = at / kBlock >= disk.blocks.size() || !disk.blocks[at / kBlock];
      const std::size_t next = std::min(round_up(at + 1, whole_blocks && fresh ? kBlock : kSector), end);
      if (there()) {
        if (whole_blocks && fresh) {
          const std::size_t block = at / kBlock * kBlock;
          const auto all = std::span(shadow.bytes).subspan(block);
          disk.write(block, all.first(std::min(kBlock, all.size())));
        } else {
          disk.write(at, std::span(change.data).subspan(at - change.offset, next - at));
        }
      }
      at = next;
    }
  }
  return disk;
}

std::size_t CutFile::Disk::taken() const {
  std::size_t taken = 0;
  for (const auto& [name, file] : files) taken += file->room();
  return taken;
}

std::shared_ptr<CutFile::Disk> CutFile::Disk::after_power_cut(Random& random) const {
  auto disk = std::make_shared<Disk>();
  disk->whole_blocks = whole_blocks;
  for (const auto& [name, file] : files)
    disk->files[name] =
        std::make_shared<CutFile>(disk, file->after_power_cut(random, whole_blocks && name == "writable_data"));
  return disk;
}

Result<std::shared_ptr<WritableFile>> CutFolder::open(const std::string& name) {
  if (!disk_->files.contains(name)) return Error::not_found("no file {}", name);
  return std::shared_ptr<WritableFile>(disk_->files[name]);
}

Result<std::shared_ptr<WritableFile>> CutFolder::replace(const std::string& name, std::span<const std::byte> content) {
  CutFile::Content bytes;
  bytes.write(0, content);
  auto file = std::make_shared<CutFile>(disk_, std::move(bytes));
  if (disk_->room && disk_->taken() + file->room() > *disk_->room) return Error::exhausted("no room");
  disk_->after_change();  // the old one, still
  disk_->files[name] = file;
  disk_->after_change();
  return std::shared_ptr<WritableFile>(file);
}

Result<void> CutFolder::remove(const std::string& name) {
  if (!disk_->files.contains(name)) return {};
  disk_->after_change();  // it is there, still
  disk_->files.erase(name);
  disk_->after_change();
  return {};
}

}  // namespace dadi::test
