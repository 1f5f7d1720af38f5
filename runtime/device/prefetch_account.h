// What became of what was prefetched: whether somebody asked for it.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "libformat/blob/blob_reader.h"
#include "libformat/zfile/reader.h"

namespace dadi::runtime {

// Keeps account of one layer, block by block: those of its compression, or pieces of 4 KiB if it has none. Memory: 3
// bits a block. Thread-safe.
class PrefetchAccount {
 public:
  // `blocks`: the layer's; null if it is not compressed, and `size` long.
  PrefetchAccount(std::shared_ptr<const zfile::Reader> blocks, Bytes size);

  // Somebody asks for these bytes of the layer, uncompressed, and cannot wait.
  void asked(Bytes offset, Bytes size);

  // These stored bytes are about to be prefetched, and then have been. REQUIRES: they are whole blocks.
  void fetching(Bytes offset, Bytes size);
  void fetched(Bytes offset, Bytes size);

  // Stored bytes that were prefetched, each once.
  struct Sums {
    Bytes hits{};    // prefetching had begun before anybody asked, and somebody did
    Bytes late{};    // somebody had asked before
    Bytes wasted{};  // nobody has asked so far

    Sums& operator+=(const Sums& other);
  };
  // Time: that of looking at all blocks.
  Sums sums() const;

 private:
  using Bits = std::vector<std::atomic<std::uint64_t>>;
  struct Blocks {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };

  Blocks stored_blocks(Bytes offset, Bytes size) const;
  Bytes stored_size(std::uint64_t block) const;
  static void set(Bits& bits, std::uint64_t number);
  static bool has(const Bits& bits, std::uint64_t number);

  const std::shared_ptr<const zfile::Reader> blocks_;
  const Bytes size_;
  const std::uint64_t block_size_;
  const std::uint64_t count_;
  Bits asked_;
  Bits ahead_;  // prefetching had begun when nobody had asked
  Bits fetched_;
};

// A layer's uncompressed bytes, whose demand reads are told. Thread-safe.
class AccountedLayer final : public BlobReader {
 public:
  AccountedLayer(SharedBlob layer, std::shared_ptr<PrefetchAccount> account)
      : layer_(std::move(layer)), account_(std::move(account)) {}

  Bytes size() const override { return layer_->size(); }
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context = {}) const override;

 private:
  const SharedBlob layer_;
  const std::shared_ptr<PrefetchAccount> account_;
};

}  // namespace dadi::runtime
