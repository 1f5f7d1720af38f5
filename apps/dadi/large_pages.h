// Memory for many small objects, in large pages.
#pragma once

namespace dadi {

// From now on the first 256 MiB of the heap come in pages of 2 MiB where the kernel gives them on request: planning an
// image makes a million small objects, and fetching pages for them one by one takes a fifth of its time. Only what is
// used takes memory. Call early, while there is one thread.
void prefer_large_pages();

}  // namespace dadi
