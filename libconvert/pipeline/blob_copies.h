// Blobs from a store to another, as they are: what copies of images and images derived from others have in common.
#pragma once

#include <set>
#include <stop_token>
#include <string>

#include "libconvert/oci/image_store.h"

namespace dadi::pipeline {

// Told what a copy does; by the thread that copies.
class CopyObserver {
 public:
  virtual ~CopyObserver() = default;
  virtual void blob_started(const oci::Descriptor& blob) = 0;
  virtual void blob_read(Bytes done) = 0;
  virtual void blob_finished() = 0;
  virtual void note(const std::string& text) = 0;
};

struct CopyCounts {
  std::size_t blobs_copied = 0;  // without manifests
  std::size_t blobs_there = 0;   // in the destination already
  Bytes bytes_copied{};
};

// Blobs that the destination has are neither read nor written; of one that is asked for again, nobody is. Everything is
// borrowed. One thread.
class BlobCopies {
 public:
  BlobCopies(const oci::ImageSource& source, oci::ImageDestination& destination, CopyObserver& observer,
             std::stop_token stop)
      : source_(source), destination_(destination), observer_(observer), stop_(std::move(stop)) {}

  // Errors: those of the stores (corruption: a blob is not what its digest says); cancelled.
  Result<void> copy(const oci::Descriptor& blob);

  const CopyCounts& counts() const { return counts_; }

 private:
  const oci::ImageSource& source_;
  oci::ImageDestination& destination_;
  CopyObserver& observer_;
  const std::stop_token stop_;
  std::set<Digest> seen_;
  CopyCounts counts_;
};

}  // namespace dadi::pipeline
