// The small parsers behind LayerArchive, on their own: access lists, pax records, names in messages, pieces.
#include <gtest/gtest.h>

#include <string>

#include "libfs/archive_acl.h"
#include "libfs/archive_headers.h"
#include "libfs/archive_input.h"
#include "libfs/archive_text.h"
#include "tests/fs/archive_reading.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs {
namespace {

std::string acl(std::string_view text, bool keep_minimal = false) {
  const auto value = posix_acl_from_text(text, keep_minimal);
  EXPECT_TRUE(value.has_value()) << text << ": " << (value ? "" : value.error().message());
  return value ? value->value_or("none") : "refused";
}

TEST(AccessList, IsTheSameInEverySpelling) {
  const std::string value = acl("user::rwx,user:1000:r-x,group::r--,group:20:-w-,mask::rwx,other::---");
  EXPECT_EQ(value.size(), 4U + 6 * 8U);
  for (const char* spelling : {
           "u::rwx,u:1000:rx,g::r,g:20:w,m::rwx,o::-",                                               // short
           "user::rwx\nuser:bob:r-x:1000\ngroup::r--\ngroup:staff:-w-:20\nmask::rwx\nother::---\n",  // star
           "other::---,mask:rwx,group:20:-w-,user:1000:r-x,group::r--,user::rwx",  // any order; mask and other
           "default:user::rwx, default:user:1000:r-x ,default:group::r--,default:group:20:-w-,default:mask::rwx,"
           "default:other::---",
           "user::rwx\n\nuser:1000:r-x\t#effective:r-x\ngroup::r--\ngroup:20:-w-\nmask::rwx\nother::---",
       }) {
    EXPECT_EQ(acl(spelling), value) << spelling;
  }
}

TEST(AccessList, EntriesOfOneKindAreSortedByNumber) {
  EXPECT_EQ(acl("user::rwx,user:300:r,user:5:w,user:70000:x,group::r,mask::r,other::r"),
            acl("user::rwx,user:70000:x,user:5:w,user:300:r,group::r,mask::r,other::r"));
}

TEST(AccessList, AMinimalOneIsKeptOnlyWhereItMatters) {
  EXPECT_EQ(acl("user::rwx,group::r-x,other::r-x"), "none");
  EXPECT_EQ(acl("user::rwx,group::r-x,other::r-x", true).size(), 4U + 3 * 8U);
  EXPECT_EQ(acl("user::rwx,group::r-x,mask::r-x,other::r-x").size(), 4U + 4 * 8U);
  EXPECT_EQ(acl(""), "none");
  EXPECT_EQ(acl("", true), "none");
  EXPECT_EQ(acl(" ,\n# nothing\n", true), "none");
}

TEST(AccessList, RefusesWhatTheKernelWouldNotTake) {
  for (const char* text :
       {"user::rwx", "user::rwx,group::r", "user::rwx,group::r,other::r,other::r",
        "user::rwx,user:5:r,group::r,other::r", "user::rwx,user:5:r,user:5:w,group::r,mask::r,other::r",
        "user::rwz,group::r,other::r", "user::,group::r,other::r", "user", "user:", ":::", "user:rwx",
        "mask:5:rwx,user::r,group::r,other::r", "nobody::rwx,user::r,group::r,other::r"}) {
    const auto value = posix_acl_from_text(text, false);
    ASSERT_FALSE(value.has_value()) << text;
    EXPECT_EQ(value.error().code(), ErrorCode::kCorruption) << text;
  }
  for (const char* text :
       {"user:bob:rwx,user::r,group::r,mask::r,other::r", "user:bob:rwx:x,user::r,group::r,mask::r,other::r",
        "user:4294967295:rwx,user::r,group::r,mask::r,other::r",
        "user:4294967296:rwx,user::r,group::r,mask::r,other::r"}) {
    const auto value = posix_acl_from_text(text, false);
    ASSERT_FALSE(value.has_value()) << text;
    EXPECT_EQ(value.error().code(), ErrorCode::kUnsupported) << text;
  }
}

TEST(PaxRecords, TheLastOfAKeyCountsAndAnEmptyOneTakesItBack) {
  PaxRecords records;
  ASSERT_TRUE(records.add("7 a=1\n\n7 b=2\n\n").has_value());  // values may hold line ends
  EXPECT_EQ(records.find("a"), "1\n");
  ASSERT_TRUE(records.add("6 a=3\n5 b=\n").has_value());
  EXPECT_EQ(records.find("a"), "3");
  EXPECT_EQ(records.find("b"), std::nullopt);
  EXPECT_EQ(records.find("c"), std::nullopt);
}

TEST(PaxRecords, RefusesMalformedOnes) {
  for (const char* body : {"x", "6", "6 ", "6 a=1", "7 a=1\n", "5 a=1\n", "0 \n", "-6 a=1\n", "3 =\n", "6 a1b\n",
                           "18446744073709551616 a=1\n", "1 \n", "2 \n"}) {
    PaxRecords records;
    EXPECT_FALSE(records.add(body).has_value()) << body;
  }
}

TEST(InQuotes, ShowsTextAndEscapesTheRest) {
  EXPECT_EQ(in_quotes("plain"), "\"plain\"");
  EXPECT_EQ(in_quotes(""), "\"\"");
  EXPECT_EQ(in_quotes("a\"b\\c"), "\"a\\\"b\\\\c\"");
  EXPECT_EQ(in_quotes(std::string_view("\0\n\x7f", 3)), "\"\\x00\\x0a\\x7f\"");
  EXPECT_EQ(in_quotes("\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8b"), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8b\"");
  // Overlong, surrogate, past the last code point, cut short, a control character of two bytes.
  EXPECT_EQ(in_quotes("\xc0\xaf"), "\"\\xc0\\xaf\"");
  EXPECT_EQ(in_quotes("\xe0\x80\xaf"), "\"\\xe0\\x80\\xaf\"");
  EXPECT_EQ(in_quotes("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"");
  EXPECT_EQ(in_quotes("\xf4\x90\x80\x80"), "\"\\xf4\\x90\\x80\\x80\"");
  EXPECT_EQ(in_quotes("\xe2\x82"), "\"\\xe2\\x82\"");
  EXPECT_EQ(in_quotes("\xc2\x9b"), "\"\\xc2\\x9b\"");
  EXPECT_EQ(in_quotes(std::string(301, 'x')), "\"" + std::string(300, 'x') + "\"…");
}

TEST(ArchiveInput, RemembersWhatCameSinceTheMark) {
  std::vector<std::byte> bytes(10'000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7);
  for (const std::size_t piece : std::initializer_list<std::size_t>{1, 3, 1000, 10'000}) {
    PieceSource source(bytes, piece);
    ArchiveInput input(source);
    const auto take_until = [&](std::uint64_t size) {
      while (input.delivered().value < size) ASSERT_FALSE(input.next_piece()->empty());
    };
    const auto expect_since = [&](std::uint64_t from, std::uint64_t end) {
      const auto seen = input.since_mark({end});
      ASSERT_EQ(seen.size(), end - from);
      EXPECT_TRUE(std::equal(seen.begin(), seen.end(), bytes.begin() + static_cast<std::ptrdiff_t>(from)));
    };
    EXPECT_FALSE(*input.at_end());
    take_until(600);
    expect_since(0, 512);
    input.mark({512});
    take_until(3000);
    expect_since(512, 2500);
    input.mark({2600});
    expect_since(2600, 3000);
    input.forget();
    take_until(9000);
    EXPECT_LE(input.remembered().value, 400U);
    input.mark(input.delivered());
    while (!input.next_piece()->empty()) continue;
    EXPECT_TRUE(*input.at_end());
    EXPECT_EQ(input.delivered(), Bytes{10'000});
  }
}

TEST(EntryHeaders, StandAfterTheirExtendedHeaders) {
  const auto tar = TarBuilder().pax({{"comment", std::string(700, 'c')}}).mode(04711).file("name", "content").finish();
  const auto headers = parse_entry_headers(tar);
  ASSERT_TRUE(headers.has_value());
  EXPECT_EQ(headers->name, "name");
  EXPECT_EQ(headers->type, '0');
  EXPECT_EQ(headers->permissions, 04711);
  EXPECT_EQ(headers->pax.find("comment")->size(), 700U);
  EXPECT_FALSE(parse_entry_headers(std::span(tar).first(1024)).has_value());
  EXPECT_FALSE(parse_entry_headers({}).has_value());
}

}  // namespace
}  // namespace dadi::fs
