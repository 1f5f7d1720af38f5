#include "tests/format/writable_device.h"

#include <algorithm>
#include <cstring>

namespace dadi::test {

Data sector_of(std::uint64_t write, std::uint64_t sector) {
  Data data(kSectorSize);
  if (write == 0) return data;
  for (std::size_t i = 0; i < kSectorSize; i += 8) {
    const std::uint64_t word = i == 0 ? write : (write * 0x9E3779B97F4A7C15 + sector * 0xD1342543DE82EF95 + i) | 1;
    std::memcpy(data.data() + i, &word, 8);
  }
  return data;
}

Result<void> LowerDevice::read_at(Sectors at, std::span<std::byte> out, const ReadContext& /*context*/) const {
  for (std::size_t i = 0; i < out.size(); i += kSectorSize)
    std::ranges::copy(sector_of(1, at.value + i / kSectorSize), out.begin() + static_cast<std::ptrdiff_t>(i));
  return {};
}

void Model::change(Sectors at, Sectors length, std::uint64_t write) {
  for (std::uint64_t i = at.value; i < (at + length).value; ++i) since_[i].push_back(write);
}

void Model::flush() {
  for (std::size_t i = 0; i < flushed_.size(); ++i) {
    if (!since_[i].empty()) flushed_[i] = since_[i].back();
    since_[i].clear();
  }
}

namespace {

Data read_device(const BlockReader& device) {
  Data all(to_bytes(kDeviceSize).value);
  must(device.read_at({0}, all));
  return all;
}

// The write that a sector is of, if it is whole.
std::optional<std::uint64_t> write_of(std::span<const std::byte> sector, std::uint64_t number) {
  std::uint64_t write = 0;
  std::memcpy(&write, sector.data(), sizeof write);
  if (!std::ranges::equal(sector, sector_of(write, number))) return std::nullopt;
  return write;
}

}  // namespace

std::string Model::settle(const BlockReader& device) {
  const Data all = read_device(device);
  for (std::uint64_t i = 0; i < flushed_.size(); ++i) {
    const auto write = write_of(std::span(all).subspan(i * kSectorSize, kSectorSize), i);
    if (!write) return fmt::format("sector {} is not of one write", i);
    if (*write != flushed_[i] && std::ranges::find(since_[i], *write) == since_[i].end())
      return fmt::format("sector {} is of write {}, but {} was flushed", i, *write, flushed_[i]);
    flushed_[i] = *write;
    since_[i].clear();
  }
  return "";
}

std::string Model::resume(const BlockReader& device) {
  Model settled = *this;
  if (std::string wrong = settled.settle(device); !wrong.empty()) return wrong;
  for (std::size_t i = 0; i < flushed_.size(); ++i)
    if (!since_[i].empty()) since_[i].push_back(settled.flushed_[i]);
  return "";
}

std::string Model::compare(const BlockReader& device) const {
  const Data all = read_device(device);
  for (std::uint64_t i = 0; i < flushed_.size(); ++i) {
    const auto write = write_of(std::span(all).subspan(i * kSectorSize, kSectorSize), i);
    const std::uint64_t last = since_[i].empty() ? flushed_[i] : since_[i].back();
    if (write != last) return fmt::format("sector {} is not of write {}, but of {}", i, last, write.value_or(~0ULL));
  }
  return "";
}

void change_at_random(BlockWriter& layer, Model& model, Random& random, int count, std::uint64_t& write,
                      std::uint64_t flush_each) {
  for (int i = 0; i < count; ++i) {
    if (below(random, flush_each) == 0) {
      must(layer.flush());
      model.flush();
      continue;
    }
    const std::uint64_t what = below(random, 10);
    const std::uint64_t unit = below(random, 3) == 0 ? 1 : 8;
    const std::uint64_t length = unit * (1 + below(random, below(random, 4) == 0 ? 8 : 2));
    const std::uint64_t at = below(random, (kDeviceSize.value - length) / unit + 1) * unit;
    if (what < 3) {
      model.change({at}, {length}, 0);
      must(below(random, 2) == 0 ? layer.discard({at}, {length}) : layer.write_zeroes({at}, {length}));
      continue;
    }
    ++write;
    Data data;
    for (std::uint64_t sector = at; sector < at + length; ++sector) {
      const Data one = sector_of(write, sector);
      data.insert(data.end(), one.begin(), one.end());
    }
    model.change({at}, {length}, write);
    must(layer.write_at({at}, data));
  }
}

}  // namespace dadi::test
