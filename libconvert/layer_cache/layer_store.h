// Converted layers in a folder of this host, within a limit.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "libconvert/layer_cache/kept_layer.h"
#include "libconvert/oci/staging.h"
#include "libformat/blob/blob_reader.h"

namespace dadi::layer_cache {

// Two files a layer: KEY.blob, and KEY.record, which describes it under a checksum of its own. A blob comes into being
// in a staging folder, is renamed, and only then gets its record; it goes in the other order. So whatever is killed,
// and whenever, leaves at most a blob without a record, which shrink() removes. Blobs are verified against their digest
// before anybody gets them. What is damaged goes, and counts as not there.
//
// Any number of processes may use a folder at once: files are only ever replaced by equal ones, and who has one open
// keeps it. Thread-safe.
class LayerStore {
 public:
  using Time = std::chrono::system_clock::time_point;

  // Makes the folder where it is missing. Errors: denied (others can write to it), io.
  static Result<LayerStore> open(const std::filesystem::path& folder);
  // One that goes with this.
  static Result<LayerStore> temporary(const std::filesystem::path& parent);

  // Marks what it finds as used at that time.
  std::optional<KeptLayer> find(const Digest& key, Time used) const;

  // The blob, which was read to its end and has its digest. Errors: not_found, corruption (it is gone now), cancelled.
  Result<SharedBlob> open_blob(const KeptLayer& layer, const std::stop_token& stop) const;

  // Takes hold of a file's content before it moves away: by a link, or a copy where that cannot be. keep() then gives
  // it its place. Held content that is not kept goes with this.
  Result<void> hold(const std::filesystem::path& file, const BlobIdentity& blob) const;
  Result<void> keep(const KeptLayer& layer, Time used) const;
  // The same from a stream. Errors: those of the stream; corruption (it is another blob), io, exhausted.
  Result<void> fetch(const KeptLayer& layer, ByteSource& content, Time used) const;

  void drop(const Digest& key) const;

  // What is there, for people.
  struct Entry {
    KeptLayer layer;
    Time used;
  };
  std::vector<Entry> list() const;

  struct Removed {
    std::uint64_t layers = 0;
    Bytes size;
  };
  // Removes what was used longest ago until the rest takes at most `limit`, and what killed processes left. `now`: by
  // the clock of the files' times.
  Removed shrink(Bytes limit, Time now) const;

 private:
  LayerStore(std::filesystem::path folder, std::shared_ptr<oci::StagingFolder> whole, oci::StagingFolder staging)
      : folder_(std::move(folder)), whole_(std::move(whole)), staging_(std::move(staging)) {}

  std::filesystem::path file(const Digest& key, const char* ending) const;
  Result<KeptLayer> read_record(const Digest& key) const;
  Result<void> write_record(const KeptLayer& layer, Time used) const;

  std::filesystem::path folder_;
  std::shared_ptr<oci::StagingFolder> whole_;  // the folder, if it is a temporary one
  oci::StagingFolder staging_;                 // within the folder
};

}  // namespace dadi::layer_cache
