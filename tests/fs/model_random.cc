// Random images of several layers, in which few names meet often: the planned writer and the tree model, which share no
// code, must agree on every file, and refuse the same entries.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "libfs/model/compare.h"
#include "tests/fs/archive_reading.h"
#include "tests/fs/planned_image.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs {
namespace {

template <typename Target>
Result<void> apply(Target& target, const TarBuilder& layer) {
  PieceSource source(layer.finish());
  DADI_TRY(const auto archive, LayerArchive::open(source));
  return target.apply(*archive);
}

class RandomImage {
 public:
  explicit RandomImage(std::uint32_t seed) : random_(seed) {
    for (int i = 0; i < 4; ++i) add_layer();
  }

  const std::vector<TarBuilder>& layers() const { return layers_; }

 private:
  // Entries that the model refuses are left out again: else few images would have a second layer.
  void add_layer() {
    layers_.emplace_back();
    for (std::size_t entries = 1 + below(15); entries > 0; --entries) {
      const TarBuilder before = layers_.back();
      add_entry(layers_.back());
      if (!is_taken()) layers_.back() = before;
    }
  }

  bool is_taken() const {
    TreeModel model;
    return std::ranges::all_of(layers_, [&](const TarBuilder& layer) { return apply(model, layer).has_value(); });
  }

  std::size_t below(std::size_t limit) { return random_() % limit; }

  std::string path() {
    constexpr std::array<const char*, 6> kNames{"a", "b", "c", "d", "\xff", "e e"};
    std::string text = below(10) == 0 ? "./" : below(20) == 0 ? "/" : "";
    const std::size_t depth = 1 + below(4);
    for (std::size_t i = 0; i < depth; ++i) {
      if (i > 0) text += '/';
      text += below(40) == 0 ? ".." : kNames[below(below(3) == 0 ? kNames.size() : 3)];
    }
    return text;
  }

  std::string content() {
    std::string text(below(3) == 0 ? below(30'000) : below(100), '\0');
    if (below(4) != 0) {
      for (char& c : text) c = static_cast<char>(random_());
    }
    return text;
  }

  void decorate(TarBuilder& tar) {
    if (below(2) == 0) tar.mode(static_cast<std::uint32_t>(below(010000)));
    if (below(3) == 0) tar.owner(static_cast<std::int64_t>(random_()), static_cast<std::int64_t>(below(100'000)));
    if (below(3) == 0) tar.mtime(static_cast<std::int64_t>(below(4'000'000'000)));
    if (below(6) == 0) tar.pax({{"mtime", std::to_string(below(2'000'000'000)) + ".12345678"}});
    if (below(6) == 0) tar.pax({{"mtime", "-" + std::to_string(below(2'000'000'000)) + ".5"}});
    if (below(4) == 0) tar.pax({{"SCHILY.xattr.user.n" + std::to_string(below(4)), std::string(below(150), 'v')}});
    if (below(12) == 0) tar.pax({{"SCHILY.xattr.trusted.large", std::string(200 + below(3000), 'w')}});
  }

  void add_entry(TarBuilder& tar) {
    const std::string name = path();
    const std::size_t kind = below(20);
    if (kind < 2) {
      tar.whiteout(name);
    } else if (kind < 3) {
      tar.opaque(name);
    } else if (kind < 5) {
      tar.hardlink(name, path());
    } else {
      decorate(tar);
      if (kind < 10) {
        tar.file(name, content());
      } else if (kind < 15) {
        tar.directory(name);
      } else if (kind < 18) {
        tar.symlink(name, below(8) == 0 ? std::string(below(200) + 1, 's') : (below(3) == 0 ? "../" : "") + path());
      } else if (kind < 19) {
        tar.device(name, below(2) == 0 ? 'b' : 'c', static_cast<std::int64_t>(below(4096)),
                   static_cast<std::int64_t>(below(1 << 20)));
      } else {
        tar.fifo(name);
      }
    }
  }

  std::mt19937 random_;
  std::vector<TarBuilder> layers_;
};

void compare_image(std::uint32_t seed) {
  TreeModel model;
  PlannedImage image({16 << 20});
  const RandomImage random(seed);
  for (const TarBuilder& layer : random.layers()) {
    ASSERT_TRUE(apply(model, layer).has_value());
    const auto written = image.add(layer.finish());
    ASSERT_TRUE(written.has_value()) << written.error().message();
  }
  const std::string fault = fault_of(image, model, /*with_e2fsck=*/seed % 10 == 0);
  if (fault.empty()) return;
  for (std::size_t i = 0; i < random.layers().size(); ++i) {
    const auto path = testing::TempDir() + "seed-" + std::to_string(seed) + "-layer-" + std::to_string(i) + ".tar";
    const auto bytes = random.layers()[i].finish();
    std::ofstream(path, std::ios::binary) << as_text(bytes);
    std::cerr << "kept: " << path << "\n";
  }
  FAIL() << fault;
}

// DADI_SEEDS=FIRST,COUNT runs others than the fixed set; a failure prints its seed and keeps its layers.
TEST(RandomImages, WriterAndModelAgree) {
  unsigned first = 1;
  unsigned count = 300;
  if (const char* seeds = std::getenv("DADI_SEEDS")) std::sscanf(seeds, "%u,%u", &first, &count);
  for (unsigned seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    compare_image(seed);
    if (HasFatalFailure()) return;
  }
}

TEST(RandomImages, WriterAndModelRefuseTheSameEntries) {
  const TarBuilder lower = TarBuilder().file("f", "1").directory("d").symlink("loop", "loop").symlink("s", "f");
  const std::vector<TarBuilder> refused{
      TarBuilder().file("f/x"),
      TarBuilder().directory("f/d/e"),
      TarBuilder().file("s/x"),
      TarBuilder().opaque("f"),
      TarBuilder().whiteout("f/x"),
      TarBuilder().file("loop/x"),
      TarBuilder().hardlink("h", "no"),
      TarBuilder().hardlink("h", "d"),
      TarBuilder().hardlink("h", "no/x"),
      TarBuilder().hardlink("h", "."),
      TarBuilder().file("."),
      TarBuilder().file(".wh."),
      TarBuilder().file("d/.wh.."),
      TarBuilder().file(".wh..."),
      TarBuilder().whiteout("f").hardlink("h", "f"),
      TarBuilder().hardlink("h", "f/x"),
      TarBuilder().symlink("t", std::string(256, 't')).file("t/x"),
  };
  for (std::size_t i = 0; i < refused.size(); ++i) {
    TreeModel model;
    PlannedImage image({16 << 20});
    ASSERT_TRUE(apply(model, lower).has_value());
    ASSERT_TRUE(image.add(lower.finish()).has_value());
    const auto modelled = apply(model, refused[i]);
    const auto written = image.add(refused[i].finish());
    ASSERT_FALSE(modelled.has_value()) << i;
    ASSERT_FALSE(written.has_value()) << i << ": " << modelled.error().message();
    EXPECT_EQ(written.error().code(), modelled.error().code()) << i;
  }
}

}  // namespace
}  // namespace dadi::fs
