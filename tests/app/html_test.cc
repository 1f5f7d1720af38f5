#include "apps/dadi/html.h"

#include <gtest/gtest.h>

namespace dadi {
namespace {

TEST(HtmlText, IsNoMarkupAndNoControlCharacters) {
  EXPECT_EQ(html_text("/a b/ä.txt"), "/a b/ä.txt");
  EXPECT_EQ(html_text("<i a=\"b\" c='d'>&amp;"), "&lt;i a=&quot;b&quot; c=&#39;d&#39;&gt;&amp;amp;");
  EXPECT_EQ(html_text("\n\x1b\xff\u202e"), "\\n\\x1b\\xff\\u202e");
}

TEST(HtmlText, ThatIsTooLongLosesItsMiddleAndNoPartOfACharacter) {
  EXPECT_EQ(html_text("abcdefghij", 10), "abcdefghij");
  EXPECT_EQ(html_text("abcdefghijk", 10), "abc…fghijk");
  EXPECT_EQ(html_text("äöüäöüäöüäö", 10), "äöü…üäöüäö");
  EXPECT_EQ(html_text("<<<<<<<<<<<<", 4), "&lt;…&lt;&lt;");
}

}  // namespace
}  // namespace dadi
