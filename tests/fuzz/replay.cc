// Runs a fuzz target on files, and on all files of folders, without a fuzzer: what every build can do.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/fuzz/fuzz_input.h"

int main(int count, char** names) {
  std::vector<std::filesystem::path> files;
  for (const std::filesystem::path name : std::span(names, static_cast<std::size_t>(count)).subspan(1)) {
    if (!std::filesystem::is_directory(name))
      files.push_back(name);
    else
      std::ranges::copy(std::filesystem::directory_iterator(name), std::back_inserter(files));
  }
  std::ranges::sort(files);
  for (const auto& path : files) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    if (!file.is_open() || file.bad()) {
      std::fprintf(stderr, "cannot read %s\n", path.c_str());
      return 2;
    }
    std::fprintf(stderr, "%s\n", path.c_str());  // the last one is that which did harm
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  }
  std::printf("%zu inputs\n", files.size());
  return files.empty() ? 2 : 0;  // a corpus that is gone proves nothing
}
