// Random images of a few layers from a seed: the planned file system against the tree model, our verifier and e2fsck.
// DADI_SEEDS=FIRST,COUNT runs others than the fixed set; a failure prints its seed.
#include <random>

#include "tests/fs/planned_image.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs {
namespace {

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  // One layer. Paths come from few names, so that entries meet: replaced, linked, hidden, walked through.
  std::vector<std::byte> layer() {
    TarBuilder tar;
    const unsigned entries = pick(40);
    for (unsigned i = 0; i < entries; ++i) add_entry(tar);
    return tar.finish();
  }

 private:
  unsigned pick(unsigned below) { return std::uniform_int_distribution<unsigned>(0, below - 1)(random_); }
  bool one_in(unsigned n) { return pick(n) == 0; }

  std::string name() {
    static const std::vector<std::string> kOdd{std::string(255, 'n'), "\xff\xfe", "caf\xc3\xa9", "a b", "-", "..."};
    return one_in(12) ? kOdd[pick(static_cast<unsigned>(kOdd.size()))]
                      : std::string(1, static_cast<char>('a' + pick(7)));
  }
  std::string path() {
    std::string path = name();
    while (!one_in(3) && path.size() < 600) path += "/" + name();
    return path;
  }
  std::string content() {
    static const std::vector<unsigned> kSizes{0, 1, 59, 511, 4095, 4096, 4097, 8192, 12288, 40000};
    std::string bytes(kSizes[pick(static_cast<unsigned>(kSizes.size()))], '\0');
    for (std::size_t at = 0; at < bytes.size(); at += 4096) {
      if (one_in(3)) continue;  // a block of zeros
      for (std::size_t i = at; i < std::min(bytes.size(), at + 4096); ++i) bytes[i] = static_cast<char>(random_());
    }
    return bytes;
  }
  void decorate(TarBuilder& tar) {
    if (one_in(3)) tar.mode(pick(07777));
    if (one_in(3)) tar.owner(pick(70000), pick(3) * 4000000);
    if (one_in(3)) tar.mtime(static_cast<std::int64_t>(pick(4000000)) * 1000);
    if (one_in(4))
      tar.pax({{"SCHILY.xattr.user.k" + std::to_string(pick(3)), std::string(pick(one_in(3) ? 900 : 30), 'v')}});
    if (one_in(6))
      tar.pax({{"SCHILY.xattr.security.capability", std::string("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20)}});
  }
  void add_entry(TarBuilder& tar) {
    const unsigned kind = pick(20);
    if (kind < 8 || (kind < 12 && known_.empty())) {
      decorate(tar);
      known_.push_back(path());
      tar.file(known_.back(), content());
    } else if (kind < 12) {
      tar.hardlink(path(), known_[pick(static_cast<unsigned>(known_.size()))]);
    } else if (kind < 15) {
      decorate(tar);
      tar.directory(one_in(20) ? "./" : path());
    } else if (kind < 16) {
      decorate(tar);
      tar.symlink(path(), one_in(4) ? std::string(60 + pick(300), 'y') : (one_in(2) ? "/" : "") + path());
    } else if (kind < 17) {
      decorate(tar);
      if (one_in(2))
        tar.fifo(path());
      else
        tar.device(path(), one_in(2) ? 'c' : 'b', pick(300), pick(300));
    } else if (kind < 19) {
      tar.whiteout(path());
    } else {
      tar.opaque(one_in(10) ? "" : path());
    }
  }

  std::mt19937 random_;
  std::vector<std::string> known_;  // files that were added at some time
};

// Runs one seed. Both interpretations must accept the same layers; the first one that is refused ends the image.
void run_seed(unsigned seed, bool with_e2fsck) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Generator generator(seed);
  PlannedImage image({std::uint64_t{256} << 20});
  TreeModel model;
  for (int layer = 0; layer < 4; ++layer) {
    const std::vector<std::byte> tar = generator.layer();
    PieceSource source(tar, 1000);
    auto archive = LayerArchive::open(source);
    ASSERT_TRUE(archive) << archive.error().message();
    const auto modelled = model.apply(**archive);
    const auto planned = image.add(tar);
    ASSERT_EQ(modelled.has_value(), planned.has_value())
        << "layer " << layer << ": " << (modelled ? planned.error().message() : modelled.error().message());
    if (!planned) return;
    ASSERT_EQ(fault_of(image, model, with_e2fsck && layer == 3), "") << "layer " << layer;
  }
}

TEST(LayerPlanner, AgreesWithTheModelOnRandomImages) {
  unsigned first = 1;
  unsigned count = 300;
  if (const char* seeds = std::getenv("DADI_SEEDS")) std::sscanf(seeds, "%u,%u", &first, &count);
  for (unsigned seed = first; seed < first + count && !testing::Test::HasFatalFailure(); ++seed)
    run_seed(seed, seed % 20 == 0);
}

}  // namespace
}  // namespace dadi::fs
