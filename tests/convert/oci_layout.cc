// Reading images from OCI layout folders.
#include <sys/stat.h>

#include "libconvert/oci/verified_source.h"
#include "libformat/blob/memory_blob.h"
#include "tests/convert/oci_fixture.h"

namespace dadi::oci {
namespace {

using namespace test;

class Layout : public ::testing::Test {
 protected:
  std::string at(const std::string& tag) const { return "oci:" + builder_.folder().string() + tag; }

  TempFolder temp_;
  LayoutBuilder builder_{temp_ / "layout"};
};

TEST_F(Layout, FindsAnImageByItsTag) {
  const Descriptor one = builder_.image("one");
  const Descriptor two = builder_.image("two");
  builder_.tag(one, "1");
  builder_.tag(two, "registry/app:2");
  builder_.finish();
  const auto first = open_source(at(":1"));
  ASSERT_OK(first);
  EXPECT_EQ((*first)->root().digest, one.digest);
  const auto second = open_source(at(":registry/app:2"));
  ASSERT_OK(second);
  EXPECT_EQ((*second)->root().digest, two.digest);
}

TEST_F(Layout, TakesTheOnlyImageWhenNoTagIsGiven) {
  builder_.tag(builder_.image("x"), "whatever");
  builder_.finish();
  ASSERT_OK(open_source(at("")));
}

TEST_F(Layout, TakesOneImageUnderTwoTagsForOne) {
  const Descriptor image = builder_.image("x");
  builder_.tag(image, "a");
  builder_.tag(image, "b");
  builder_.finish();
  ASSERT_OK(open_source(at("")));
}

TEST_F(Layout, ListsTheTagsWhenNoneWasGivenOrNoneMatches) {
  builder_.tag(builder_.image("x"), "red");
  builder_.tag(builder_.image("y"), "blue");
  const Descriptor untagged = builder_.image("z");
  builder_.tag(untagged, "");
  builder_.finish();
  const auto ambiguous = open_source(at(""));
  EXPECT_FAILS(ambiguous, kInvalidArgument, "3 images");
  const auto missing = open_source(at(":green"));
  EXPECT_FAILS(missing, kNotFound, "green");
  for (const auto* failed : {&ambiguous.error(), &missing.error()}) {
    for (const std::string& name : {std::string("red"), std::string("blue"), "@" + untagged.digest.to_string()})
      EXPECT_NE(failed->hint().find(name), std::string::npos) << failed->hint();
  }
}

TEST_F(Layout, RefusesATagThatTwoImagesHave) {
  builder_.tag(builder_.image("x"), "same");
  builder_.tag(builder_.image("y"), "same");
  builder_.finish();
  EXPECT_FAILS(open_source(at(":same")), kInvalidArgument, "2 images of that tag");
}

TEST_F(Layout, SelectsAManifestByDigestEvenOneBelowAnIndex) {
  const Descriptor image = builder_.image("x");
  const Descriptor index = builder_.index({image});
  builder_.tag(index, "1");
  builder_.finish();
  const auto nested = open_source(at("@" + image.digest.to_string()));
  ASSERT_OK(nested);
  EXPECT_EQ((*nested)->root().media_type, kOciManifest);
  EXPECT_EQ((*nested)->root().size, image.size);
  ASSERT_OK(open_source(at("@" + index.digest.to_string())));
  EXPECT_FAILS(open_source(at("@" + Digest::of(as_bytes("no")).to_string())), kNotFound, "manifest");
}

TEST_F(Layout, SaysWhenAFolderIsNoLayout) {
  builder_.finish();
  EXPECT_FAILS(open_source("oci:" + (temp_ / "none").string()), kNotFound, "no folder");
  EXPECT_FAILS(open_source("oci:" + temp_.path().string()), kNotFound, "no oci-layout");
  EXPECT_FAILS(open_source(at("")), kNotFound, "no image");
  write_text(builder_.folder() / "oci-layout", R"({"imageLayoutVersion":"2.0.0"})");
  EXPECT_FAILS(open_source(at("")), kUnsupported, "2.0.0");
  write_text(builder_.folder() / "oci-layout", R"({"version":"1.0.0"})");
  EXPECT_FAILS(open_source(at("")), kCorruption, "imageLayoutVersion");
}

TEST_F(Layout, RefusesAnIndexThatIsDamaged) {
  builder_.tag(builder_.image("x"), "1");
  builder_.finish();
  const fs::path index = builder_.folder() / "index.json";
  const std::string good = read_text(index);
  write_text(index, good.substr(0, good.size() / 2));
  EXPECT_FAILS(open_source(at(":1")), kCorruption, "index.json");
  write_text(index, std::string((16 << 20) + 1, ' '));
  EXPECT_FAILS(open_source(at(":1")), kCorruption, "more than");
  write_text(index, R"({"schemaVersion":2,"manifests":[{"digest":"sha256:../../../../etc/passwd","size":1}]})");
  EXPECT_FAILS(open_source(at("")), kCorruption, "not a digest");
  fs::remove(index);
  EXPECT_FAILS(open_source(at(":1")), kNotFound, "index.json");
  fs::create_directory(index);
  EXPECT_FAILS(open_source(at(":1")), kCorruption, "not a regular file");
}

TEST_F(Layout, DoesNotWaitForAPipeThatStandsInABlobsPlace) {
  const Descriptor image = builder_.image("x");
  builder_.tag(image, "1");
  builder_.finish();
  fs::remove(builder_.path_of(image.digest));
  ASSERT_EQ(::mkfifo(builder_.path_of(image.digest).c_str(), 0600), 0);
  const auto source = open_source(at(":1"));
  ASSERT_OK(source);
  EXPECT_FAILS((*source)->open_blob(image), kCorruption, "not a regular file");
}

TEST_F(Layout, ReadsBlobsInOrderAndAtRandomAlsoThroughLinks) {
  std::string content(1'000'000, 'x');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31);
  const Descriptor layer = builder_.layer(content);
  builder_.tag(builder_.image("x"), "1");
  builder_.finish();
  fs::rename(builder_.path_of(layer.digest), temp_ / "elsewhere");
  fs::create_symlink(temp_ / "elsewhere", builder_.path_of(layer.digest));
  const auto source = open_source(at(":1"));
  ASSERT_OK(source);
  EXPECT_EQ(blob_text(**source, layer), content);
  const auto blob = (*source)->open_blob(layer);
  ASSERT_OK(blob);
  const auto part = read_range(**blob, {999'000}, {1000});
  ASSERT_OK(part);
  EXPECT_EQ(as_text(*part), content.substr(999'000));
}

TEST_F(Layout, NamesABlobThatIsMissingOrOfAnotherSize) {
  const Descriptor layer = builder_.layer("content");
  builder_.tag(builder_.image("x"), "1");
  builder_.finish();
  const auto source = open_source(at(":1"));
  ASSERT_OK(source);
  Descriptor lying = layer;
  lying.size = {8};
  EXPECT_FAILS((*source)->open_blob(lying), kCorruption,
               layer.digest.to_string() + " has 7 bytes, its descriptor says 8");
  fs::remove(builder_.path_of(layer.digest));
  EXPECT_FAILS((*source)->open_blob(layer), kNotFound, layer.digest.to_string());
}

TEST_F(Layout, AStreamEndsInAnErrorWhenTheContentIsNotTheDigests) {
  const Descriptor layer = builder_.layer(std::string(700'000, 'a'));
  builder_.tag(builder_.image("x"), "1");
  builder_.finish();
  std::string changed(700'000, 'a');
  changed[699'999] = 'b';
  write_text(builder_.path_of(layer.digest), changed);
  const auto source = open_source(at(":1"));
  ASSERT_OK(source);
  const auto stream = (*source)->stream_blob(layer);
  ASSERT_OK(stream);
  Result<void> end;
  std::size_t seen = 0;
  for (;;) {
    const auto piece = (*stream)->next();
    if (!piece) {
      end = piece.error();
      break;
    }
    ASSERT_FALSE(piece->empty()) << "the end came without an error";
    seen += piece->size();
  }
  EXPECT_EQ(seen, 700'000U);
  EXPECT_FAILS(end, kCorruption, layer.digest.to_string());
}

TEST_F(Layout, AStreamStopsWhenAskedTo) {
  const Descriptor layer = builder_.layer("x");
  builder_.tag(builder_.image("x"), "1");
  builder_.finish();
  const auto source = open_source(at(":1"));
  ASSERT_OK(source);
  std::stop_source stop;
  const auto stream = (*source)->stream_blob(layer, {.stop = stop.get_token()});
  ASSERT_OK(stream);
  stop.request_stop();
  EXPECT_FAILS((*stream)->next(), kCancelled, "");
}

TEST(VerifiedSource, FailsWhenTheStreamIsLongerOrShorter) {
  const std::string text = "0123456789";
  const Digest digest = Digest::of(as_bytes(text));
  const auto drain = [&](std::uint64_t size) -> Result<void> {
    auto blob = std::make_shared<MemoryBlob>(std::vector(as_bytes(text).begin(), as_bytes(text).end()));
    VerifiedSource source(std::make_unique<BlobStream>(std::move(blob)), digest, {size});
    for (;;) {
      DADI_TRY(const auto piece, source.next());
      if (piece.empty()) return {};
    }
  };
  ASSERT_OK(drain(10));
  EXPECT_FAILS(drain(9), kCorruption, "longer than the 9 bytes");
  EXPECT_FAILS(drain(11), kCorruption, "ends after 10 of the 11 bytes");
}

TEST(VerifiedSource, StaysAtItsEnd) {
  VerifiedSource empty(std::make_unique<BlobStream>(std::make_shared<MemoryBlob>(std::vector<std::byte>())),
                       Digest::of({}), {0});
  for (int i = 0; i < 3; ++i) {
    const auto piece = empty.next();
    ASSERT_OK(piece);
    EXPECT_TRUE(piece->empty());
  }
}

TEST_F(Layout, RefusesADocumentThatIsTooLarge) {
  const Descriptor image = builder_.image("x");
  builder_.tag(image, "1");
  builder_.finish();
  const auto source = open_source(at(":1"));
  ASSERT_OK(source);
  EXPECT_FAILS(read_document(**source, image, {10}), kUnsupported, "at most 10");
}

TEST(Store, OtherKindsOfReferencesAreSaidToBeUnsupported) {
  for (const std::string text : {"nginx:1.25", "layers:a,b", "config:a.json"}) {
    EXPECT_FAILS(open_source(text), kUnsupported, "");
    EXPECT_FAILS(open_destination(text), kUnsupported, "");
  }
  EXPECT_FAILS(open_destination("docker-archive:x.tar"), kUnsupported, "Docker archives");
  EXPECT_FAILS(open_destination("oci:x@" + Digest::of({}).to_string()), kInvalidArgument, "digest");
}

}  // namespace
}  // namespace dadi::oci
