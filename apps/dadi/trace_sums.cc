#include "apps/dadi/trace_sums.h"

#include <unordered_map>

namespace dadi {

Bytes saturating_sum(Bytes a, Bytes b) {
  return {checked_add(a.value, b.value).value_or(~std::uint64_t{0})};
}

void LayerReads::add(const LayerReads& other) {
  reads += other.reads;
  bytes = saturating_sum(bytes, other.bytes);
  distinct = saturating_sum(distinct, other.distinct);
}

std::map<std::uint32_t, LayerReads> reads_by_layer(const std::vector<trace::Read>& reads,
                                                   const std::vector<trace::Read>& once) {
  std::map<std::uint32_t, LayerReads> layers;
  for (const trace::Read& read : reads) layers[read.layer].add({1, read.size, {}});
  for (const trace::Read& read : once) layers[read.layer].add({0, {}, read.size});
  return layers;
}

LayerReads sum_of(const std::map<std::uint32_t, LayerReads>& layers) {
  LayerReads sum;
  for (const auto& [number, layer] : layers) sum.add(layer);
  return sum;
}

std::vector<FileReads> reads_by_file(const TracedFiles& traced, const std::vector<trace::Read>& once) {
  std::vector<FileReads> files;
  std::unordered_map<std::string_view, std::size_t> numbers;
  Bytes before{};
  for (const trace::Read& read : once) {
    traced.visit(read, [&](const TracedFiles::Piece& piece) {
      const auto [at, is_new] = numbers.try_emplace(piece.file, files.size());
      if (is_new) files.push_back({std::string(piece.file), {}, before, read.layer, false});
      FileReads& file = files[at->second];
      file.bytes = saturating_sum(file.bytes, piece.size);
      file.other_layers |= file.layer != read.layer;
      before = saturating_sum(before, piece.size);
    });
  }
  return files;
}

}  // namespace dadi
