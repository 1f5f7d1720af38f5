// What the tests of this room share: blobs made in memory, data from files, other people's programs.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "libformat/blob/block_reader.h"
#include "libformat/blob/byte_stream.h"
#include "libformat/blob/memory_blob.h"
#include "libformat/lsmt/layer_writer.h"
#include "libformat/lsmt/stack_reader.h"
#include "libformat/zfile/codec.h"

namespace dadi::test {

// Whether this is a build for TSan: ten times slower, and of no use to what has one thread.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif

using Data = std::vector<std::byte>;
using Random = std::mt19937_64;

// The value, or the end of the test with the error's message.
template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// That `result` is an error of this kind whose message contains `part`.
template <typename T>
void expect_error(const Result<T>& result, ErrorCode code, std::string_view part) {
  ASSERT_FALSE(result.has_value()) << "no error, but one about: " << part;
  EXPECT_EQ(static_cast<int>(result.error().code()), static_cast<int>(code)) << result.error().message();
  EXPECT_NE(result.error().message().find(part), std::string::npos) << result.error().message();
}

std::uint64_t below(Random& random, std::uint64_t limit);  // uniform in [0, limit)
Data random_bytes(Random& random, std::size_t size);
// Half of it compresses.
Data mixed_bytes(Random& random, std::size_t size);

class MemorySink final : public ByteSink {
 public:
  Result<void> write(std::span<const std::byte> data) override;
  Data bytes;
};

// Fails once more than `room` bytes were written.
class FullSink final : public ByteSink {
 public:
  explicit FullSink(std::size_t room) : room_(room) {}
  Result<void> write(std::span<const std::byte> data) override;

 private:
  std::size_t room_;
};

SharedBlob blob_of(Data data);
Data all_of(const BlobReader& blob);
Data all_of(const BlockReader& device);

// A layer written by `fill`, uncompressed.
Data make_layer(const lsmt::LayerInfo& info, const std::function<void(lsmt::LayerWriter&)>& fill);
// A ZFile of `raw`.
Data make_zfile(std::span<const std::byte> raw, const zfile::Options& options = {});
// A tar envelope around `payload`.
Data make_envelope(std::span<const std::byte> payload);

std::unique_ptr<lsmt::StackReader> stack_of(const std::vector<SharedBlob>& layer_files);
Digest digest_of(const BlockReader& device);

// Finds the first sector in which two devices differ; what both call zero or hole is taken at its word.
std::optional<Sectors> first_difference(const BlockReader& a, const BlockReader& b);

Data read_file(const std::filesystem::path& path);  // gunzipped, where its name ends in .gz
void write_file(const std::filesystem::path& path, std::span<const std::byte> data);

// <repository>/testdata, and the folder of goldens and tools beside the repository, where there is one.
std::filesystem::path testdata();
std::optional<std::filesystem::path> shared();

#define DADI_REQUIRE_SHARED()  \
  if (!::dadi::test::shared()) \
  GTEST_SKIP() << "NOT TESTED: there is no folder of goldens and tools; set DADI_SHARED to its path"

// A folder that goes with its owner; in the system's folder for such, or in `where`.
class TemporaryFolder {
 public:
  TemporaryFolder() : TemporaryFolder(std::filesystem::temp_directory_path()) {}
  explicit TemporaryFolder(const std::filesystem::path& where);
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Outcome {
  int status = 0;
  std::string output;
};
Outcome run(const std::string& command);

// That the independent reader accepts each of these layer files; and that stacked, bottom first, they make the same
// device for it as for us.
void expect_strict_reader_accepts(const std::vector<Data>& layer_files);
void expect_same_device_by_strict_reader(const std::vector<Data>& layer_files);

}  // namespace dadi::test
