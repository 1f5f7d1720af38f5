#include "apps/dadi/sizes.h"

#include <gtest/gtest.h>

namespace dadi {
namespace {

constexpr std::uint64_t kMax = ~std::uint64_t{0};

TEST(Sizes, AreReadAsPeopleWriteThem) {
  const std::pair<const char*, std::uint64_t> cases[] = {
      {"0", 0},
      {"512", 512},
      {"4K", 4096},
      {"4k", 4096},
      {"64G", 68719476736},
      {"64GiB", 68719476736},
      {"1.5 GiB", 1610612736},
      {"10MB", 10000000},
      {"1kB", 1000},
      {"2T", 2199023255552},
      {"0.5K", 512},
      {"18446744073709551615", kMax},
      {"100B", 100},
  };
  for (const auto& [text, bytes] : cases) {
    const auto size = parse_size(text);
    ASSERT_TRUE(size) << text << ": " << size.error().message();
    EXPECT_EQ(size->value, bytes) << text;
  }
}

TEST(Sizes, RefusesWhatIsNoSize) {
  for (const char* text : {"", "G", ".", "-1", "+1", "4Q", "4KB4", "1..5", "1e9", "0x10", " 4K", "4K ", "1.0001K",
                           "18446744073709551616", "99999999999T", "16777216T", "0.0000000001G", "4 K i B", "inf"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size) << text << " is " << size->value;
    EXPECT_EQ(size.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_FALSE(size.error().hint().empty());
  }
}

TEST(Sizes, AreWrittenInAFewDigits) {
  const std::pair<std::uint64_t, const char*> cases[] = {
      {0, "0 B"},         {1023, "1023 B"},     {1024, "1 KiB"},  {1288490189, "1.2 GiB"}, {68719476736, "64 GiB"},
      {1048575, "1 MiB"}, {1572864, "1.5 MiB"}, {kMax, "16 EiB"},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(format_size({bytes}), text) << bytes;
}

TEST(Counts, HaveTheirNounInTheRightNumber) {
  EXPECT_EQ(format_count(0, "layer"), "0 layers");
  EXPECT_EQ(format_count(1, "layer"), "1 layer");
  EXPECT_EQ(format_count(12, "layer"), "12 layers");
}

}  // namespace
}  // namespace dadi
