// Files in memory whose power can be cut at any moment, and what a disk may hold then.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "libformat/blob/writable_file.h"
#include "tests/format/test_support.h"

namespace dadi::test {

// One file: what it holds, what of that is durable, and what was done since.
class CutFile final : public WritableFile {
 public:
  struct Change;
  struct Content {
    Data bytes;
    std::vector<bool> blocks;  // of 4 KiB: whether there is data in it, or a hole

    void write(std::size_t offset, std::span<const std::byte> data);
    void resize(std::size_t size);
    void punch(std::size_t offset, std::size_t length);
    void apply(const Change& change);
  };
  struct Change {
    enum class Kind { kWrite, kResize, kPunch };
    Kind kind;
    std::size_t offset;
    std::size_t length;
    Data data;
  };

  struct Disk;  // what the files of a folder share
  CutFile(std::shared_ptr<Disk> disk, Content content)
      : disk_(std::move(disk)), now_(content), durable_(std::move(content)) {}

  Bytes size() const override { return {now_.bytes.size()}; }
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context = {}) const override;
  Result<void> write_at(Bytes offset, std::span<const std::byte> data) override;
  Result<void> resize(Bytes size) override;
  Result<void> punch(Bytes offset, Bytes length) override;
  Result<std::optional<Stretch>> next_data(Bytes from) const override;
  Result<void> sync() override;

  // What the file may be after a power cut. Changes that are not durable are there or not, each sector by itself, or,
  // if `whole_blocks`, with the rest of its block where there was a hole.
  Content after_power_cut(Random& random, bool whole_blocks) const;
  std::size_t room() const;  // that it takes, in bytes
  const Content& now() const { return now_; }
  const Content& durable() const { return durable_; }

 private:
  Result<void> change(Change change);

  Disk& disk() const { return *disk_.lock(); }

  std::weak_ptr<Disk> disk_;  // which has the file
  Content now_;
  Content durable_;
  std::vector<Change> changes_;
};

struct CutFile::Disk {
  std::map<std::string, std::shared_ptr<CutFile>> files;
  std::function<void()> after_change = [] {};  // called when something was done to some file, durable or not
  std::optional<std::size_t> room;             // in bytes; writes that take more fail
  bool sync_fails = false;
  std::set<std::string> failing;  // names of files; writes to them fail half way
  std::size_t syncs = 0;          // so far
  bool whole_blocks = false;      // see after_power_cut(); of the files of data
  std::size_t punched = 0;        // bytes

  std::size_t taken() const;
  // The same files as they may be after a power cut.
  std::shared_ptr<Disk> after_power_cut(Random& random) const;
};

class CutFolder final : public WritableFolder {
 public:
  explicit CutFolder(std::shared_ptr<CutFile::Disk> disk) : disk_(std::move(disk)) {}

  Result<std::shared_ptr<WritableFile>> open(const std::string& name) override;
  Result<std::shared_ptr<WritableFile>> replace(const std::string& name, std::span<const std::byte> content) override;
  Result<void> remove(const std::string& name) override;
  Bytes block_size() const override { return {4096}; }

 private:
  std::shared_ptr<CutFile::Disk> disk_;
};

}  // namespace dadi::test
