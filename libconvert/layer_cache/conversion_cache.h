// What a conversion asks before it converts a layer, and tells afterwards: a folder of this host, and lists in stores.
//
// Trust: a key is made of the inputs alone, so a layer that is found under one is what somebody said that it is. The
// folder is this user's own. A list in a store is trusted as an image from there would be: who can write to it decides
// what the images contain that are converted with it. Blobs have their digests, wherever they come from.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "libconvert/layer_cache/layer_store.h"
#include "libconvert/oci/image_store.h"

namespace dadi::layer_cache {

// One conversion's; one thread at a time, save hold().
class ConversionCache {
 public:
  struct Options {
    Bytes limit{std::uint64_t{10} << 30};  // of the folder
    bool look_up = true;                   // else everything is converted, and kept
    LayerStore::Time now;                  // when what is found or kept counts as used
    std::stop_token stop;
  };
  ConversionCache(LayerStore store, Options options) : store_(std::move(store)), options_(std::move(options)) {}

  // Layers are looked for there, too, after the folder. Errors: those of read_list().
  Result<void> add_source(std::unique_ptr<oci::ImageSource> source);

  // What is kept under the key. `number`: of the layer in its image, 0 at the bottom.
  std::optional<KeptLayer> find(const Digest& key, std::size_t number);
  // Its blob, verified. Errors: cancelled; any other: it is not to be had, and is not found again.
  Result<SharedBlob> open_blob(const KeptLayer& layer);
  // It was not what it should be.
  void forget(const KeptLayer& layer);
  // The layer became a part of an image that was found or converted: what publish() is about.
  void use(const KeptLayer& layer) { used_.push_back(layer); }

  // As of LayerStore; keep() tells what became of it. That a layer is not kept is no failure of a conversion.
  void hold(const std::filesystem::path& file, const BlobIdentity& blob);
  Result<void> keep(const KeptLayer& layer, std::size_t number);

  // The blob of a used layer, verified. Errors: not_found (none has that digest), those of open_blob().
  Result<SharedBlob> open_used(const Digest& blob);

  // Brings the folder within its limit.
  void shrink() const { store_.shrink(options_.limit, options_.now); }

  // How a list's store is opened for reading and writing, as often as it takes.
  struct Target {
    std::function<Result<std::unique_ptr<oci::ImageSource>>()> source;  // not_found: there is no list yet
    std::function<Result<std::unique_ptr<oci::ImageDestination>>()> destination;
  };
  // Lists the used layers there, beside those that are listed already, and puts their blobs there. Does nothing if all
  // are listed. Registries cannot replace a manifest on a condition: when others write the list at the same time, it is
  // looked at a moment later, and written again; what is lost nevertheless, the next conversion adds.
  // Errors: those of the stores and of open_blob(); busy (others write all the time).
  Result<void> publish(const Target& target);

 private:
  struct Remote {
    KeptLayer layer;
    const oci::ImageSource* source;
  };

  LayerStore::Time stamp(std::size_t number) const;
  Result<bool> lists_all(const Target& target, std::vector<KeptLayer>& listed) const;
  Result<void> write(const Target& target);

  LayerStore store_;
  Options options_;
  std::vector<std::unique_ptr<oci::ImageSource>> sources_;
  std::map<Digest, Remote> remote_;      // by key
  std::map<Digest, SharedBlob> opened_;  // by key: verified
  std::vector<KeptLayer> used_;
  std::mutex mutex_;                         // of what follows
  std::map<Digest, Result<void>> not_held_;  // by blob
};

// While it lives, the cache takes hold of what is written to the destination, which others who are told of it are, too.
class HeldFiles {
 public:
  // Without a cache nothing happens.
  HeldFiles(ConversionCache* cache, oci::ImageDestination& destination);
  ~HeldFiles();
  HeldFiles(const HeldFiles&) = delete;
  HeldFiles& operator=(const HeldFiles&) = delete;

 private:
  oci::ImageDestination* destination_;  // null: there is no cache
  oci::ImageDestination::Finished before_;
};

// Puts a blob into a store, unless it is there. Errors: those of the store and of the blob.
Result<void> copy_blob(const SharedBlob& blob, const BlobIdentity& identity, oci::ImageDestination& destination,
                       const std::stop_token& stop);

}  // namespace dadi::layer_cache
