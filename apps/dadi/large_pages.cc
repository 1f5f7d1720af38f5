#include "apps/dadi/large_pages.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace dadi {

void prefer_large_pages() {
#ifdef __GLIBC__
  constexpr int kHeap = 256 << 20;
  constexpr int kUsualPad = 128 << 10;
  constexpr int kLargeBlock = 1 << 20;  // is mapped, and given back: the library ceases to find out by itself
  constexpr std::uintptr_t kPage = std::uintptr_t{2} << 20;
  // The kernel takes advice on memory that is there, and forgets it where a heap grows: so it grows now.
  const auto begin = (reinterpret_cast<std::uintptr_t>(::sbrk(0)) + kPage - 1) / kPage * kPage;
  mallopt(M_MMAP_THRESHOLD, kLargeBlock);
  mallopt(M_TRIM_THRESHOLD, 2 * kHeap);  // else it shrinks again with the first large block that is freed
  mallopt(M_TOP_PAD, kHeap);
  void* const volatile block = std::malloc(kLargeBlock / 2);  // volatile: a pair that nobody looks at is left out
  std::free(block);
  mallopt(M_TOP_PAD, kUsualPad);
  const auto end = reinterpret_cast<std::uintptr_t>(::sbrk(0)) / kPage * kPage;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // or not
#endif
}

}  // namespace dadi
