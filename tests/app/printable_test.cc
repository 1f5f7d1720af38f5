#include "apps/dadi/printable.h"

#include <gtest/gtest.h>

namespace dadi {
namespace {

TEST(Printable, LeavesOrdinaryTextAlone) {
  for (const char* text : {"", "usr/bin/env", "späße/日本語", "back\\slash", "emoji \xf0\x9f\x90\xa7"}) {
    EXPECT_EQ(printable(text), text);
  }
}

TEST(Printable, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(printable("\x1b[2Jx"), "\\x1b[2Jx");
  EXPECT_EQ(printable("a\nb\tc\rd\x07"), "a\\nb\\tc\\rd\\x07");
  EXPECT_EQ(printable("\x7f"), "\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J"),
            "\\u009b2J");  // CSI as one C1 character
  EXPECT_EQ(printable(std::string("nul\0nul", 7)), "nul\\x00nul");
}

TEST(Printable, EscapesWhatReordersOrHidesText) {
  EXPECT_EQ(printable("exe\xe2\x80\xaegpj"), "exe\\u202egpj");
  EXPECT_EQ(printable("a\xe2\x80\x8b"
                      "b"),
            "a\\u200bb");
  EXPECT_EQ(printable("\xef\xbb\xbf"), "\\ufeff");
}

TEST(Printable, EscapesBytesThatAreNotUtf8) {
  EXPECT_EQ(printable("caf\xe9"), "caf\\xe9");
  EXPECT_EQ(printable("\xc3"), "\\xc3");                    // cut short
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // an overlong slash
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xf5\x80\x80\x80"), "\\xf5\\x80\\x80\\x80");
}

TEST(Printable, JsonTextIsAlwaysUtf8) {
  EXPECT_EQ(as_utf8("caf\xe9!"), "caf\xef\xbf\xbd!");
  EXPECT_TRUE(is_utf8(as_utf8("\xff\xfe\xc3")));
  EXPECT_FALSE(is_utf8("\xff"));
  EXPECT_TRUE(is_utf8("日本語"));
}

}  // namespace
}  // namespace dadi
