// Memory for arrays that are read at random: what fits a cache line lies in one.
#pragma once

#include <cstddef>
#include <new>

namespace dadi::lsmt {

// For std::vector: its array begins at a cache line.
template <typename T>
struct CacheLineAllocator {
  using value_type = T;
  static constexpr std::align_val_t kCacheLine{64};

  CacheLineAllocator() = default;
  template <typename U>
  CacheLineAllocator(const CacheLineAllocator<U>&) {}  // NOLINT(google-explicit-constructor): the standard asks for it

  T* allocate(std::size_t count) { return static_cast<T*>(::operator new(count * sizeof(T), kCacheLine)); }
  void deallocate(T* memory, std::size_t) { ::operator delete(memory, kCacheLine); }

  friend bool operator==(const CacheLineAllocator&, const CacheLineAllocator&) { return true; }
};

}  // namespace dadi::lsmt
