#include "libconvert/oci/archive_destination.h"

#include <array>
#include <bit>
#include <cstring>

#include "libconvert/oci/layout_destination.h"
#include "libconvert/oci/layout_source.h"
#include "libconvert/oci/staged_blobs.h"
#include "libconvert/oci/verified_source.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"
#include "libformat/blob/memory_blob.h"

namespace dadi::oci {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = 512;

// Members in the order they are given, with nothing in the headers that could differ from one run to the next.
class TarWriter {
 public:
  explicit TarWriter(ByteSink& sink) : sink_(sink) {}

  Result<void> folder(std::string_view name) { return sink_.write(header(name, {0}, '5', 0755)); }

  Result<void> file(std::string_view name, Bytes size, ByteSource& content) {
    DADI_CHECK(sink_.write(header(name, size, '0', 0644)));
    Bytes written;
    for (;;) {
      DADI_TRY(const auto piece, content.next());
      if (piece.empty()) break;
      DADI_CHECK(sink_.write(piece));
      written += Bytes{piece.size()};
    }
    if (written != size) return Error::internal("{} has {} bytes, not {}", name, written.value, size.value);
    return sink_.write(std::span(kZeros).first(round_up(size.value, kBlock) - size.value));
  }

  Result<void> finish() { return sink_.write(kZeros); }

 private:
  static constexpr std::array<std::byte, 2 * kBlock> kZeros{};

  static std::array<std::byte, kBlock> header(std::string_view name, Bytes size, char type, unsigned mode) {
    std::array<char, kBlock> text{};
    const auto put = [&](std::size_t offset, std::string_view value) {
      std::memcpy(text.data() + offset, value.data(), value.size());
    };
    put(0, name);
    put(100, fmt::format("{:07o}", mode));
    put(108, "0000000");
    put(116, "0000000");
    put_size(std::span(text).subspan(124, 12), size.value);
    put(136, "00000000000");
    put(148, "        ");
    text[156] = type;
    put(257, std::string_view("ustar\00000", 8));
    unsigned sum = 0;
    for (const char c : text) sum += static_cast<unsigned char>(c);
    put(148, fmt::format("{:06o}", sum));
    text[154] = '\0';
    return std::bit_cast<std::array<std::byte, kBlock>>(text);
  }

  // Octal as far as it goes, 8 GiB, and then the binary form that every reader of today knows.
  static void put_size(std::span<char> field, std::uint64_t size) {
    if (size >> 33 == 0) {
      const std::string octal = fmt::format("{:011o}", size);
      std::ranges::copy(octal, field.begin());
      return;
    }
    field[0] = static_cast<char>(0x80);
    for (std::size_t i = 0; i < 8; ++i) field[11 - i] = static_cast<char>(size >> (8 * i));
  }

  ByteSink& sink_;
};

class ArchiveDestination final : public ImageDestination {
 public:
  ArchiveDestination(fs::path file, std::string tag, StagedBlobs staged)
      : file_(std::move(file)), tag_(std::move(tag)), staged_(std::move(staged)) {}

  Result<std::unique_ptr<BlobSink>> create_blob(Bytes head_size) override { return staged_.create(head_size); }
  Result<bool> has_blob(const Digest& digest, Bytes size) override { return staged_.contains(digest, size); }

  Result<void> commit(const Descriptor& root) override {
    if (!staged_.contains(root.digest, root.size))
      return Error::internal("{} was not written", root.digest.to_string());
    DADI_TRY(const auto sink, FileBlobSink::create(staged_.folder(), {0}, [](const Digest&) { return kArchive; }));
    DADI_CHECK(write_archive(*sink, root));
    DADI_CHECK(sink->finish({}));
    if (::rename((staged_.folder() / kArchive).c_str(), file_.c_str()) != 0)
      return Error::from_errno(errno, fmt::format("rename to {}", file_.string()));
    return sync_directory(staged_.folder().parent_path());
  }

 private:
  static constexpr char kArchive[] = "archive.tar";

  Result<void> write_archive(ByteSink& sink, const Descriptor& root) {
    DADI_TRY(const std::string index, index_with("", root, tag_));
    TarWriter tar(sink);
    DADI_CHECK(add_text(tar, kLayoutFile, kLayoutContent));
    DADI_CHECK(add_text(tar, kIndexFile, index));
    DADI_CHECK(tar.folder("blobs/"));
    DADI_CHECK(tar.folder("blobs/sha256/"));
    DADI_TRY(const auto blobs, staged_.list());
    for (const StagedBlobs::Blob& blob : blobs) {
      DADI_TRY(SharedBlob content, FileBlob::open(blob.path));
      BlobStream stream(std::move(content));
      DADI_CHECK(tar.file(blob_path(blob.digest), blob.size, stream));
      ::unlink(blob.path.c_str());  // its copy is in the archive: the space is needed for the next
    }
    return tar.finish();
  }

  static Result<void> add_text(TarWriter& tar, std::string_view name, std::string_view text) {
    const auto bytes = as_bytes(text);
    BlobStream stream(std::make_shared<MemoryBlob>(std::vector(bytes.begin(), bytes.end())));
    return tar.file(name, {bytes.size()}, stream);
  }

  fs::path file_;
  std::string tag_;
  StagedBlobs staged_;
};

}  // namespace

Result<std::unique_ptr<ImageDestination>> open_archive_destination(const fs::path& file, const std::string& tag) {
  std::error_code ignored;
  if (fs::is_directory(file, ignored)) return Error::invalid_argument("{} is a folder", file.string());
  const fs::path parent = file.has_parent_path() ? file.parent_path() : ".";
  DADI_TRY(StagedBlobs staged, StagedBlobs::create(parent));
  return std::unique_ptr<ImageDestination>(std::make_unique<ArchiveDestination>(file, tag, std::move(staged)));
}

}  // namespace dadi::oci
