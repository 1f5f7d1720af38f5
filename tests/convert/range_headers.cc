#include "libconvert/registry/range_headers.h"

#include <gtest/gtest.h>

#include <string>

namespace dadi::registry {
namespace {

TEST(ContentRange, GivesFirstAndLastByteAndTheSizeWhereItIsSaid) {
  EXPECT_EQ(parse_content_range("bytes 0-0/1"), (ContentRange{0, 0, 1}));
  EXPECT_EQ(parse_content_range("bytes 262144-524287/1000000"), (ContentRange{262144, 524287, 1000000}));
  EXPECT_EQ(parse_content_range("bytes 5-9/*"), (ContentRange{5, 9, std::nullopt}));
  EXPECT_EQ(parse_content_range("Bytes  5-9/10 "), (ContentRange{5, 9, 10}));
}

TEST(ContentRange, RefusesWhatIsOfAnotherForm) {
  for (const char* header :
       {"", "bytes", "bytes ", "bytes=0-1/2", "bytes0-1/2", "bytes -1/2", "bytes 0-/2", "bytes 0-1", "bytes 0-1/",
        "bytes */10", "bytes 0-1/2x", "bytes 0-1/**", "items 0-1/2", "bytes +0-1/2", "bytes 0 -1/2", "bytes 0x0-1/2"})
    EXPECT_EQ(parse_content_range(header), std::nullopt) << header;
}

TEST(ContentRange, RefusesNumbersThatMakeNoSense) {
  EXPECT_EQ(parse_content_range("bytes 5-4/10"), std::nullopt);
  EXPECT_EQ(parse_content_range("bytes 0-10/10"), std::nullopt);
  EXPECT_EQ(parse_content_range("bytes 0-1/0"), std::nullopt);
  EXPECT_EQ(parse_content_range("bytes 0-18446744073709551616/*"), std::nullopt);
  EXPECT_EQ(parse_content_range("bytes 99999999999999999999999-1/*"), std::nullopt);
  EXPECT_EQ(parse_content_range("bytes 0-1/" + std::string(4096, '9')), std::nullopt);
}

TEST(UploadRange, GivesWhereAnUploadIs) {
  EXPECT_EQ(upload_range_end("0-0"), 0U);
  EXPECT_EQ(upload_range_end("0-4194303"), 4194303U);
  EXPECT_EQ(upload_range_end("bytes=0-99"), 99U);
  for (const char* header : {"", "0", "-1", "1-0", "0-1-2", "0-1 ", "bytes 0-1", "0-9999999999999999999"})
    EXPECT_EQ(upload_range_end(header), std::nullopt) << header;
}

TEST(HeaderNumber, IsDigitsAlone) {
  EXPECT_EQ(header_number("0"), 0U);
  EXPECT_EQ(header_number("999999999999999999"), 999999999999999999U);
  for (const char* header : {"", " 1", "1 ", "-1", "+1", "0x1", "1000000000000000000"})
    EXPECT_EQ(header_number(header), std::nullopt) << header;
}

}  // namespace
}  // namespace dadi::registry
