// A writable layer whose every sector says which write it is of, and a record of what each may hold.
#pragma once

#include <set>

#include "libformat/lsmt/writable_layer.h"
#include "tests/format/power_cut.h"

namespace dadi::test {

// 512 bytes of a write, which differ from sector to sector; of write 0: zeros.
Data sector_of(std::uint64_t write, std::uint64_t sector);

// A device whose sectors are those of write 1.
class LowerDevice final : public BlockReader {
 public:
  explicit LowerDevice(Sectors size) : size_(size) {}
  Sectors size() const override { return size_; }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context = {}) const override;
  Result<Extent> next_extent(Sectors at) const override { return Extent{Extent::Kind::kData, size_ - at}; }

 private:
  Sectors size_;
};

inline constexpr Sectors kDeviceSize{512};

// Of a layer in which little of everything is much, so that everything happens often.
inline constexpr lsmt::WritableOptions kRestless{
    .limit = {}, .garbage = {16384}, .log = 40, .flush_log = {65536}, .unrecorded = 24};

// What each sector of a device may hold: what it held at the last flush, or what was written since.
class Model {
 public:
  Model() : flushed_(kDeviceSize.value, 1), since_(kDeviceSize.value) {}

  void change(Sectors at, Sectors length, std::uint64_t write);
  void flush();
  // That each sector is of an allowed write, and whole; from now on, only that one is allowed. "", or what is wrong.
  std::string settle(const BlockReader& device);
  // That each sector is of an allowed write, and whole; from now on, that is the last one, but no more durable than
  // before. "", or what is wrong.
  std::string resume(const BlockReader& device);
  // That each sector is of the last write. "", or what is wrong.
  std::string compare(const BlockReader& device) const;

 private:
  std::vector<std::uint64_t> flushed_;
  std::vector<std::vector<std::uint64_t>> since_;
};

// Does `count` random things to what is written to and the model: a flush for each `flush_each`. `write` numbers the
// writes.
void change_at_random(BlockWriter& layer, Model& model, Random& random, int count, std::uint64_t& write,
                      std::uint64_t flush_each = 10);

}  // namespace dadi::test
