#include "libconvert/layer_cache/layer_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "libconvert/oci/json.h"
#include "libconvert/oci/verified_source.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi::layer_cache {

namespace {

namespace fs = std::filesystem;

constexpr char kBlob[] = ".blob";
constexpr char kRecord[] = ".record";
constexpr Bytes kRecordLimit{64 << 10};
constexpr auto kOrphanTime = std::chrono::hours(1);  // in which who wrote a blob has written its record, too

Result<void> rename_file(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return Error::from_errno(errno, fmt::format("rename {} to {}", from.string(), to.string()));
  return {};
}

void set_time(const fs::path& path, LayerStore::Time time) {
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  const timespec stamp{since / 1'000'000'000, since % 1'000'000'000};
  const timespec stamps[2] = {stamp, stamp};
  (void)::utimensat(AT_FDCWD, path.c_str(), stamps, 0);  // then it goes earlier than it could
}

std::optional<LayerStore::Time> time_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return LayerStore::Time(std::chrono::duration_cast<LayerStore::Time::duration>(
      std::chrono::seconds(status.st_mtim.tv_sec) + std::chrono::nanoseconds(status.st_mtim.tv_nsec)));
}

// All of it, or an error: whoever stops is heard.
Result<void> copy_stream(ByteSource& from, ByteSink& to) {
  for (;;) {
    DADI_TRY(const auto piece, from.next());
    if (piece.empty()) return {};
    DADI_CHECK(to.write(piece));
  }
}

// The keys of the files with that ending.
std::vector<Digest> keys_of(const fs::path& folder, std::string_view ending) {
  std::vector<Digest> keys;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    const std::string name = at->path().filename().string();
    if (!name.ends_with(ending)) continue;
    if (const auto key = Digest::parse("sha256:" + name.substr(0, name.size() - ending.size()))) keys.push_back(*key);
  }
  return keys;
}

}  // namespace

Result<LayerStore> LayerStore::open(const fs::path& folder) {
  std::error_code failed;
  if (folder.has_parent_path()) fs::create_directories(folder.parent_path(), failed);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    return Error::from_errno(errno, fmt::format("make {}", folder.string()));
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) return Error::from_errno(errno, folder.string());
  if (!S_ISDIR(status.st_mode)) return Error::invalid_argument("{} is not a folder", folder.string());
  if (status.st_uid != ::geteuid() || (status.st_mode & 022) != 0)
    return Error::denied("{} can be written by others", folder.string())
        .with_hint("chmod go-w it, or name another folder");
  DADI_TRY(auto staging, oci::StagingFolder::create(folder));
  return LayerStore(folder, nullptr, std::move(staging));
}

Result<LayerStore> LayerStore::temporary(const fs::path& parent) {
  DADI_TRY(auto made, oci::StagingFolder::create(parent));
  auto whole = std::make_shared<oci::StagingFolder>(std::move(made));
  DADI_TRY(auto staging, oci::StagingFolder::create(whole->path()));
  const fs::path folder = whole->path();
  return LayerStore(folder, std::move(whole), std::move(staging));
}

fs::path LayerStore::file(const Digest& key, const char* ending) const {
  return folder_ / (key.hex() + ending);
}

// A line with the digest of the rest, which is a descriptor.
Result<KeptLayer> LayerStore::read_record(const Digest& key) const {
  DADI_TRY(const auto opened, FileBlob::open(file(key, kRecord)));
  if (opened->size() > kRecordLimit) return Error::corruption("a record of {} bytes", opened->size().value);
  DADI_TRY(const auto bytes, read_range(*opened, {0}, opened->size()));
  const std::string_view text = as_text(bytes);
  const std::size_t line = std::min(text.find('\n'), text.size());
  const std::string_view rest = text.substr(std::min(line + 1, text.size()));
  if (text.substr(0, line) != Digest::of(as_bytes(rest)).to_string()) return Error::corruption("a damaged record");
  DADI_TRY(const oci::Json json, oci::parse_json(as_bytes(rest)));
  DADI_TRY(const oci::Descriptor descriptor, oci::parse_descriptor(json, "record"));
  DADI_TRY(KeptLayer layer, parse_kept_layer(descriptor));
  if (layer.key != key) return Error::corruption("a record of another layer");
  return layer;
}

Result<void> LayerStore::write_record(const KeptLayer& layer, Time used) const {
  const std::string text = oci::dump_json(oci::to_json(describe(layer)));
  const fs::path staged = staging_.path() / (layer.key.hex() + kRecord);
  DADI_CHECK(replace_file(staged, as_bytes(Digest::of(as_bytes(text)).to_string() + "\n" + text)));
  set_time(staged, used);
  DADI_CHECK(rename_file(staged, file(layer.key, kRecord)));
  return sync_directory(folder_);
}

std::optional<KeptLayer> LayerStore::find(const Digest& key, Time used) const {
  auto layer = read_record(key);
  std::error_code failed;
  if (layer && fs::file_size(file(key, kBlob), failed) == layer->blob.size.value && !failed) {
    set_time(file(key, kRecord), used);
    return *layer;
  }
  if (layer || layer.error().code() != ErrorCode::kNotFound) drop(key);
  return std::nullopt;
}

Result<SharedBlob> LayerStore::open_blob(const KeptLayer& layer, const std::stop_token& stop) const {
  DADI_TRY(SharedBlob blob, FileBlob::open(file(layer.key, kBlob)));
  oci::VerifiedSource content(std::make_unique<oci::BlobStream>(blob), layer.blob.digest, layer.blob.size);
  for (;;) {
    if (stop.stop_requested()) return Error::cancelled("stopped");
    const auto piece = content.next();
    if (!piece) {
      drop(layer.key);
      return piece.error();
    }
    if (piece->empty()) return blob;
  }
}

Result<void> LayerStore::hold(const fs::path& content, const BlobIdentity& blob) const {
  const fs::path held = staging_.path() / blob.digest.hex();
  if (::link(content.c_str(), held.c_str()) == 0 || errno == EEXIST) return {};
  DADI_TRY(const auto opened, FileBlob::open(content));
  oci::VerifiedSource stream(std::make_unique<oci::BlobStream>(opened), blob.digest, blob.size);
  DADI_TRY(const auto sink, FileBlobSink::create(staging_.path(), {0}, &Digest::hex));
  DADI_CHECK(copy_stream(stream, *sink));
  DADI_CHECK(sink->finish({}));
  return {};
}

Result<void> LayerStore::keep(const KeptLayer& layer, Time used) const {
  DADI_CHECK(rename_file(staging_.path() / layer.blob.digest.hex(), file(layer.key, kBlob)));
  DADI_CHECK(sync_directory(folder_));
  return write_record(layer, used);
}

Result<void> LayerStore::fetch(const KeptLayer& layer, ByteSource& content, Time used) const {
  DADI_TRY(const auto sink, FileBlobSink::create(staging_.path(), {0}, &Digest::hex));
  DADI_CHECK(copy_stream(content, *sink));
  DADI_TRY(const BlobIdentity found, sink->finish({}));
  if (found != layer.blob) return Error::corruption("blob {} is not what came", layer.blob.digest.to_string());
  return keep(layer, used);
}

void LayerStore::drop(const Digest& key) const {
  ::unlink(file(key, kRecord).c_str());
  ::unlink(file(key, kBlob).c_str());
}

std::vector<LayerStore::Entry> LayerStore::list() const {
  std::vector<Entry> entries;
  for (const Digest& key : keys_of(folder_, kRecord)) {
    const auto used = time_of(file(key, kRecord));
    auto layer = read_record(key);
    if (used && layer) entries.push_back({std::move(*layer), *used});
  }
  std::ranges::sort(entries, [](const Entry& a, const Entry& b) { return a.used > b.used; });
  return entries;
}

LayerStore::Removed LayerStore::shrink(Bytes limit, Time now) const {
  Removed removed;
  Bytes kept;
  for (const Entry& entry : list()) {
    const Bytes size = entry.layer.blob.size;
    if (size <= limit && kept <= limit - size) {
      kept += size;
      continue;
    }
    drop(entry.layer.key);
    ++removed.layers;
    removed.size += size;
  }
  for (const Digest& key : keys_of(folder_, kRecord))
    if (!read_record(key)) drop(key);
  for (const Digest& key : keys_of(folder_, kBlob)) {
    const auto written = time_of(file(key, kBlob));
    std::error_code failed;
    if (!fs::exists(file(key, kRecord), failed) && written && *written < now - kOrphanTime) drop(key);
  }
  return removed;
}

}  // namespace dadi::layer_cache
