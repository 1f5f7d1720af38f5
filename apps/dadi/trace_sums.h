// What a trace comes to: by layer, and by file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apps/dadi/traced_files.h"
#include "libformat/trace/trace.h"

namespace dadi {

// Sums of hostile numbers stop at the largest there is.
struct LayerReads {
  std::uint64_t reads = 0;
  Bytes bytes{};
  Bytes distinct{};

  void add(const LayerReads& other);
};

// By number, 0 is the bottom. `once` is without_repeats() of `reads`.
std::map<std::uint32_t, LayerReads> reads_by_layer(const std::vector<trace::Read>& reads,
                                                   const std::vector<trace::Read>& once);
LayerReads sum_of(const std::map<std::uint32_t, LayerReads>& layers);

struct FileReads {
  std::string path;           // as TracedFiles::Piece has it
  Bytes bytes{};              // distinct
  Bytes first{};              // what was read, each byte once, before anything of it was
  std::uint32_t layer = 0;    // that the first of it was read of
  bool other_layers = false;  // and of others, later
};

// In the order in which they were first read. `once`: each byte once, as without_repeats() gives it.
std::vector<FileReads> reads_by_file(const TracedFiles& files, const std::vector<trace::Read>& once);

Bytes saturating_sum(Bytes a, Bytes b);

}  // namespace dadi
