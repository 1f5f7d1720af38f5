// What a check finds, collected while it runs.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "libfs/check/check.h"
#include "libfs/ext4/volume.h"

namespace dadi::fs {

// Where something was found. An inode's path is looked up only when everything has been checked.
struct Place {
  static Place superblock() { return {.text = "superblock"}; }
  static Place group(std::uint32_t number) { return {.text = fmt::format("group {}", number)}; }
  static Place of_inode(InodeNumber number) { return {.text = fmt::format("inode {}", number), .inode = number}; }
  static Place block(std::uint64_t number) { return {.text = fmt::format("block {}", number)}; }

  std::string text;
  InodeNumber inode = 0;
};

// Keeps the first 100 faults and as many notes, and counts the faults. One thread at a time.
class Findings {
 public:
  struct Item {
    Place place;
    std::string text;
  };

  template <typename... Args>
  void fault(const Place& place, fmt::format_string<Args...> format, Args&&... args) {
    ++fault_count_;
    if (faults_.size() < kMost) faults_.push_back({place, fmt::format(format, std::forward<Args>(args)...)});
  }

  template <typename... Args>
  void note(const Place& place, fmt::format_string<Args...> format, Args&&... args) {
    if (notes_.size() < kMost) notes_.push_back({place, fmt::format(format, std::forward<Args>(args)...)});
  }

  std::vector<Item>& faults() { return faults_; }
  std::vector<Item>& notes() { return notes_; }
  std::uint64_t fault_count() const { return fault_count_; }

 private:
  static constexpr std::size_t kMost = 100;

  std::vector<Item> faults_;
  std::vector<Item> notes_;
  std::uint64_t fault_count_ = 0;
};

}  // namespace dadi::fs
