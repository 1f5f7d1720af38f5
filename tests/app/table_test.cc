#include "apps/dadi/table.h"

#include <gtest/gtest.h>

namespace dadi {
namespace {

TEST(Table, ColumnsLineUpAndLinesEndWithoutBlanks) {
  Table table({{"NAME"}, {"SIZE", Table::Align::kRight}, {"NOTE"}});
  table.add({"a", "1", ""});
  table.add({"longer", "12345", "x"});
  EXPECT_EQ(table.render(),
            "NAME     SIZE  NOTE\n"
            "a           1\n"
            "longer  12345  x\n");
}

TEST(Table, CountsCharactersAndNotBytes) {
  Table table({{"N"}, {"V"}});
  table.add({"ä", "1"});
  table.add({"bb", "2"});
  EXPECT_EQ(table.render(), "N   V\nä   1\nbb  2\n");
}

}  // namespace
}  // namespace dadi
