#include "runtime/device/block_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace dadi::runtime {

namespace {

constexpr std::size_t kMostShards = 16;
constexpr std::size_t kLeastInShard = 16;  // blocks
constexpr std::uint32_t kNone = ~std::uint32_t{0};
constexpr std::uint8_t kMostUses = 3;  // that are remembered of a block
constexpr auto kIdle = std::chrono::seconds(30);

std::uint64_t name_of(BlockCache::Key key) {
  return std::uint64_t{key.layer} << 56 | key.block;
}

// The finaliser of MurmurHash3: every bit of the name changes half of the hash's.
std::uint64_t hash_of(std::uint64_t name) {
  name = (name ^ name >> 33) * 0xff51afd7ed558ccdULL;
  name = (name ^ name >> 33) * 0xc4ceb9fe1a85ec53ULL;
  return name ^ name >> 33;
}

}  // namespace

// A part of the cache with a lock of its own: a hash table of slots, each of which is in one of two queues.
class BlockCache::Shard {
 public:
  struct Slot {
    std::uint64_t name = 0;
    std::uint32_t next_in_bucket = kNone;
    std::uint32_t next_in_queue = kNone;
    std::uint32_t size = 0;  // of the block, in bytes
    std::uint8_t uses = 0;   // since it was last considered for eviction
  };
  // What a slot costs besides its block: itself, its bucket, and the name of a block that went.
  static constexpr std::size_t kBookkeeping = sizeof(Slot) + 2 * sizeof(std::uint32_t);

  Shard(std::byte* memory, std::size_t block_size, std::size_t capacity)
      : memory_(memory), block_size_(block_size), capacity_(capacity), buckets_(capacity, kNone), gone_(capacity, 0) {
    slots_.reserve(capacity);
  }

  bool read(std::uint64_t name, std::uint64_t hash, std::size_t offset, std::span<std::byte> out) {
    const std::lock_guard lock(mutex_);
    touched_ = true;
    const std::uint32_t slot = find(name, hash);
    if (slot == kNone) return false;
    std::memcpy(out.data(), memory(slot) + offset, out.size());
    if (slots_[slot].uses < kMostUses) ++slots_[slot].uses;
    ++hits_;
    return true;
  }

  void offer(std::uint64_t name, std::uint64_t hash, std::span<const std::byte> block, Worth worth) {
    const std::lock_guard lock(mutex_);
    ++misses_;
    if (capacity_ == 0 || find(name, hash) != kNone) return;
    const bool known = is_gone(hash);
    if (!known && worth == Worth::kDecoding) return remember_gone(hash);
    const std::uint32_t slot = take_slot();
    std::memcpy(memory(slot), block.data(), block.size());
    std::uint32_t& bucket = buckets_[in_range(hash)];
    slots_[slot] = {.name = name, .next_in_bucket = bucket, .size = static_cast<std::uint32_t>(block.size())};
    bucket = slot;
    push(known ? main_ : small_, slot);
  }

  // Whether anything was read since this was last asked.
  bool take_touched() {
    const std::lock_guard lock(mutex_);
    return std::exchange(touched_, false);
  }

  // Lets all blocks go, and their memory.
  void clear() {
    const std::lock_guard lock(mutex_);
    if (slots_.empty()) return;
    slots_ = {};
    slots_.reserve(capacity_);
    std::fill(buckets_.begin(), buckets_.end(), kNone);
    small_ = main_ = {};
    ::madvise(memory_, capacity_ * block_size_, MADV_DONTNEED);
  }

  void add_to(Stats& stats) const {
    const std::lock_guard lock(mutex_);
    stats.hits += hits_;
    stats.misses += misses_;
    stats.memory +=
        Bytes{sizeof *this + slots_.size() * (block_size_ + sizeof(Slot)) + capacity_ * 2 * sizeof(std::uint32_t)};
  }

 private:
  struct Queue {
    std::uint32_t first = kNone;
    std::uint32_t last = kNone;
    std::size_t size = 0;
  };

  std::byte* memory(std::uint32_t slot) const { return memory_ + slot * block_size_; }

  // The hash's lower half as a number below the capacity. REQUIRES: capacity_ > 0.
  std::size_t in_range(std::uint64_t hash) const { return (hash & 0xffffffffU) * capacity_ >> 32; }

  std::uint32_t find(std::uint64_t name, std::uint64_t hash) const {
    if (slots_.empty()) return kNone;
    std::uint32_t slot = buckets_[in_range(hash)];
    while (slot != kNone && slots_[slot].name != name) slot = slots_[slot].next_in_bucket;
    return slot;
  }

  // Names of blocks that went are their hash's upper half, the newer in place of the older.
  bool is_gone(std::uint64_t hash) const { return gone_[in_range(hash)] == static_cast<std::uint32_t>(hash >> 32); }
  void remember_gone(std::uint64_t hash) { gone_[in_range(hash)] = static_cast<std::uint32_t>(hash >> 32); }

  void push(Queue& queue, std::uint32_t slot) {
    slots_[slot].next_in_queue = kNone;
    (queue.size == 0 ? queue.first : slots_[queue.last].next_in_queue) = slot;
    queue.last = slot;
    ++queue.size;
  }

  std::uint32_t pop(Queue& queue) {
    const std::uint32_t slot = queue.first;
    queue.first = slots_[slot].next_in_queue;
    --queue.size;
    return slot;
  }

  void unlink(std::uint32_t slot, std::uint64_t hash) {
    std::uint32_t* link = &buckets_[in_range(hash)];
    while (*link != slot) link = &slots_[*link].next_in_bucket;
    *link = slots_[slot].next_in_bucket;
  }

  // A slot in no queue and no bucket: a new one, or that of the block which matters least. Ends, since every round
  // moves a block out of the small queue for good or takes away one of its few uses.
  std::uint32_t take_slot() {
    if (slots_.size() < capacity_) {
      slots_.emplace_back();
      return static_cast<std::uint32_t>(slots_.size() - 1);
    }
    while (true) {
      const bool from_small = main_.size == 0 || small_.size > capacity_ / 10;
      const std::uint32_t slot = pop(from_small ? small_ : main_);
      std::uint8_t& uses = slots_[slot].uses;
      if (uses == 0) {
        const std::uint64_t hash = hash_of(slots_[slot].name);
        unlink(slot, hash);
        if (from_small) remember_gone(hash);
        return slot;
      }
      uses = from_small ? 0 : static_cast<std::uint8_t>(uses - 1);
      push(main_, slot);
    }
  }

  mutable std::mutex mutex_;
  std::byte* const memory_;  // capacity_ slots; the rest guarded by mutex_
  const std::size_t block_size_;
  const std::size_t capacity_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> buckets_;  // first slot of each
  std::vector<std::uint32_t> gone_;     // by hash; 0: none
  Queue small_;                         // new blocks
  Queue main_;                          // blocks that were wanted again
  std::uint64_t hits_ = 0;
  std::uint64_t misses_ = 0;
  bool touched_ = false;
};

Result<std::unique_ptr<BlockCache>> BlockCache::create(Bytes budget, std::size_t block_size) {
  constexpr std::size_t kPage = 4096;
  const std::size_t slot = round_up(std::max<std::size_t>(block_size, 1), kPage);
  const std::size_t fixed = kMostShards * (sizeof(Shard) + sizeof(std::unique_ptr<Shard>)) + sizeof(BlockCache);
  std::size_t capacity = budget.value < fixed ? 0 : (budget.value - fixed) / (slot + Shard::kBookkeeping);
  if (block_size == 0) capacity = 0;
  const std::size_t size = capacity * slot;
  if (size == 0) return std::unique_ptr<BlockCache>(new BlockCache(nullptr, {}, slot, 0));
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return Error::from_errno(errno, fmt::format("map a cache of {} bytes", budget.value));
  ::madvise(memory, size, MADV_NOHUGEPAGE);  // a block alone should not take two megabytes
  return std::unique_ptr<BlockCache>(new BlockCache(static_cast<std::byte*>(memory), {size}, slot, capacity));
}

BlockCache::BlockCache(std::byte* slots, Bytes mapped, std::size_t block_size, std::size_t capacity)
    : slots_(slots), mapped_(mapped) {
  const std::size_t shards = std::clamp<std::size_t>(capacity / kLeastInShard, 1, kMostShards);
  for (std::size_t i = 0; i < shards; ++i) {
    const std::size_t begin = capacity * i / shards;
    const std::size_t end = capacity * (i + 1) / shards;
    shards_.push_back(std::make_unique<Shard>(slots + begin * block_size, block_size, end - begin));
  }
}

BlockCache::~BlockCache() {
  if (slots_ != nullptr) ::munmap(slots_, mapped_.value);
}

BlockCache::Place BlockCache::place(std::uint64_t name) {
  const std::uint64_t hash = hash_of(name);
  return {*shards_[(hash >> 32) * shards_.size() >> 32], hash};
}

bool BlockCache::read(Key key, std::size_t offset, std::span<std::byte> out) {
  const std::uint64_t name = name_of(key);
  const auto [shard, hash] = place(name);
  return shard.read(name, hash, offset, out);
}

void BlockCache::offer(Key key, std::span<const std::byte> block, Worth worth) {
  const std::uint64_t name = name_of(key);
  const auto [shard, hash] = place(name);
  shard.offer(name, hash, block, worth);
}

void BlockCache::trim(std::chrono::steady_clock::time_point now) {
  bool touched = false;
  for (const auto& shard : shards_) touched = shard->take_touched() || touched;
  if (touched) last_use_ = now;
  if (now - last_use_ < kIdle) return;
  for (const auto& shard : shards_) shard->clear();
}

BlockCache::Stats BlockCache::stats() const {
  Stats stats;
  for (const auto& shard : shards_) shard->add_to(stats);
  return stats;
}

}  // namespace dadi::runtime
