#include "tests/format/test_support.h"

#include <isa-l/igzip_lib.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "libformat/base/bytes.h"
#include "libformat/layer_file.h"
#include "libformat/zfile/writer.h"

namespace dadi::test {

namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;

Data gunzip(const Data& compressed) {
  inflate_state state;
  isal_inflate_init(&state);
  state.crc_flag = ISAL_GZIP;
  state.next_in = const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(compressed.data()));
  state.avail_in = static_cast<std::uint32_t>(compressed.size());
  Data raw;
  Data piece(kPiece);
  while (state.block_state != ISAL_BLOCK_FINISH) {
    state.next_out = reinterpret_cast<std::uint8_t*>(piece.data());
    state.avail_out = static_cast<std::uint32_t>(piece.size());
    const int status = isal_inflate(&state);
    const std::size_t size = piece.size() - state.avail_out;
    if (status != ISAL_DECOMP_OK || (size == 0 && state.avail_in == 0)) throw std::runtime_error("gunzip failed");
    raw.insert(raw.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(size));
  }
  return raw;
}

// Cuts a stream into blocks and compresses them, one after the other.
class Compressor final : public ByteSink {
 public:
  Compressor(ByteSink& out, const zfile::Options& options)
      : writer_(out, options), encoder_(must(zfile::BlockEncoder::create(options))), block_size_(options.block_size) {}

  Result<void> write(std::span<const std::byte> data) override {
    pending_.insert(pending_.end(), data.begin(), data.end());
    std::size_t done = 0;
    for (; pending_.size() - done >= block_size_; done += block_size_)
      DADI_CHECK(add(std::span(pending_).subspan(done, block_size_)));
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(done));
    return {};
  }

  Result<zfile::Writer::Finished> finish() {
    if (!pending_.empty()) DADI_CHECK(add(pending_));
    return writer_.finish();
  }

 private:
  Result<void> add(std::span<const std::byte> block) {
    stored_.clear();
    DADI_CHECK(encoder_.encode(block, stored_));
    return writer_.add(stored_, block.size());
  }

  zfile::Writer writer_;
  zfile::BlockEncoder encoder_;
  std::size_t block_size_;
  Data pending_;
  Data stored_;
};

}  // namespace

std::uint64_t below(Random& random, std::uint64_t limit) {
  return random() % limit;
}

Data random_bytes(Random& random, std::size_t size) {
  Data data(size);
  std::ranges::generate(data, [&] { return static_cast<std::byte>(random()); });
  return data;
}

Data mixed_bytes(Random& random, std::size_t size) {
  Data data = random_bytes(random, size);
  for (std::size_t at = 0; at < size; at += 512)
    if (random() % 2 == 0)
      std::fill_n(data.begin() + static_cast<std::ptrdiff_t>(at), std::min(size - at, 512UL), data[at]);
  return data;
}

Result<void> MemorySink::write(std::span<const std::byte> data) {
  bytes.insert(bytes.end(), data.begin(), data.end());
  return {};
}

Result<void> FullSink::write(std::span<const std::byte> data) {
  if (data.size() > room_) return Error::exhausted("no space left");
  room_ -= data.size();
  return {};
}

SharedBlob blob_of(Data data) {
  return std::make_shared<MemoryBlob>(std::move(data));
}

Data all_of(const BlobReader& blob) {
  return must(read_range(blob, {0}, blob.size()));
}

Data all_of(const BlockReader& device) {
  Data data(to_bytes(device.size()).value);
  must(device.read_at({0}, data));
  return data;
}

Data make_layer(const lsmt::LayerInfo& info, const std::function<void(lsmt::LayerWriter&)>& fill) {
  MemorySink sink;
  const auto writer = must(lsmt::LayerWriter::create(sink, info));
  fill(*writer);
  const auto summary = must(writer->finish());
  EXPECT_EQ(summary.size.value, sink.bytes.size());
  return std::move(sink.bytes);
}

Data make_zfile(std::span<const std::byte> raw, const zfile::Options& options) {
  MemorySink sink;
  Compressor compressor(sink, options);
  must(compressor.write(raw));
  const auto finished = must(compressor.finish());
  Data blob(finished.header.begin(), finished.header.end());
  blob.insert(blob.end(), sink.bytes.begin(), sink.bytes.end());
  EXPECT_EQ(finished.size.value, blob.size());
  return blob;
}

Data make_envelope(std::span<const std::byte> payload) {
  const auto head = tar_envelope::head({payload.size()});
  Data blob(head.begin(), head.end());
  blob.insert(blob.end(), payload.begin(), payload.end());
  blob.resize(blob.size() + tar_envelope::tail_size({payload.size()}).value);
  return blob;
}

std::unique_ptr<lsmt::StackReader> stack_of(const std::vector<SharedBlob>& layer_files) {
  std::vector<lsmt::LayerReader> layers;
  for (const SharedBlob& file : layer_files) layers.push_back(must(open_layer_file(file)).layer);
  return must(lsmt::StackReader::open(std::move(layers)));
}

Digest digest_of(const BlockReader& device) {
  Hasher hasher;
  Data piece(kPiece);
  for (Sectors at{}; at < device.size();) {
    const auto part = std::span(piece).first(std::min(piece.size(), to_bytes(device.size() - at).value));
    must(device.read_at(at, part));
    hasher.update(part);
    at += whole_sectors(part);
  }
  return hasher.finish();
}

std::optional<Sectors> first_difference(const BlockReader& a, const BlockReader& b) {
  if (a.size() != b.size()) return std::min(a.size(), b.size());
  Data left(kPiece);
  Data right(kPiece);
  for (Sectors at{}; at < a.size();) {
    const Extent of_a = must(a.next_extent(at));
    const Extent of_b = must(b.next_extent(at));
    Sectors length = std::min(of_a.length, of_b.length);
    if (of_a.kind == Extent::Kind::kData || of_b.kind == Extent::Kind::kData) {
      length = std::min(length, Sectors{kPiece / kSectorSize});
      const std::size_t size = to_bytes(length).value;
      must(a.read_at(at, std::span(left).first(size)));
      must(b.read_at(at, std::span(right).first(size)));
      if (!std::ranges::equal(std::span(left).first(size), std::span(right).first(size))) return at;
    }
    at += length;
  }
  return std::nullopt;
}

Data read_file(const std::filesystem::path& path) {
  Data data = all_of(*must(FileBlob::open(path)));
  return path.extension() == ".gz" ? gunzip(data) : data;
}

void write_file(const std::filesystem::path& path, std::span<const std::byte> data) {
  std::ofstream file(path, std::ios::binary);
  file.write(as_text(data).data(), static_cast<std::streamsize>(data.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

std::filesystem::path testdata() {
  if (const char* path = std::getenv("DADI_TESTDATA")) return path;
  return std::filesystem::path(__FILE__).parent_path().parent_path().parent_path() / "testdata";
}

std::optional<std::filesystem::path> shared() {
  const char* given = std::getenv("DADI_SHARED");
  const std::filesystem::path path = given != nullptr ? given : testdata().parent_path().parent_path() / "shared";
  if (!std::filesystem::is_directory(path / "golden")) return std::nullopt;
  return path;
}

TemporaryFolder::TemporaryFolder(const std::filesystem::path& where) {
  std::string name = where / "dadi-test-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Outcome run(const std::string& command) {
  Outcome outcome;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
  std::array<char, 4096> buffer{};
  for (std::size_t n = 0; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    outcome.output.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return outcome;
}

namespace {

// Runs the independent reader over the files.
Outcome strict_reader(const std::string& command, const std::vector<Data>& layer_files) {
  const TemporaryFolder folder;
  std::string line = "python3 '" + (*shared() / "tools" / "strict_reader.py").string() + "' " + command;
  for (std::size_t i = 0; i < layer_files.size(); ++i) {
    const auto path = folder.path() / std::to_string(i);
    write_file(path, layer_files[i]);
    line += " '" + path.string() + "'";
  }
  return run(line);
}

}  // namespace

void expect_strict_reader_accepts(const std::vector<Data>& layer_files) {
  const Outcome check = strict_reader("check --modern", layer_files);
  EXPECT_EQ(check.status, 0) << check.output;
  EXPECT_EQ(check.output.find("not merged"), std::string::npos) << check.output;
}

void expect_same_device_by_strict_reader(const std::vector<Data>& layer_files) {
  expect_strict_reader_accepts(layer_files);
  std::vector<SharedBlob> blobs;
  for (const Data& file : layer_files) blobs.push_back(blob_of(file));
  const Outcome device = strict_reader("device", layer_files);
  EXPECT_EQ(device.status, 0) << device.output;
  EXPECT_EQ(device.output.substr(0, 64), digest_of(*stack_of(blobs)).hex());
}

}  // namespace dadi::test
