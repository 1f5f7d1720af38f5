// A file system on FUSE that loses, in a power cut, what was not fsynced, and that may be full:
//   power_cut MOUNTPOINT BEFORE AFTER SEED CUT FULL
// It holds what is in the folder BEFORE, and prints "ready". The power is cut before the CUT-th change (0: never), or
// on SIGUSR1: what is left is written into the new folder AFTER, "changes N" is printed, and the file system is gone;
// who uses it still gets errors. SEED: see FragileTree::leave(). From the FULL-th change on (0: never) there is no room
// for another file or byte.
#define FUSE_USE_VERSION 312
#include <fcntl.h>
#include <fuse.h>
#include <linux/falloc.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "tests/power_cut/fragile_tree.h"

namespace dadi::power_cut {
namespace {

FragileTree tree;
std::mutex mutex;  // of the tree, and of what follows
std::uint64_t changes = 0;
std::uint64_t cut_before = 0;
std::uint64_t full_from = 0;
std::uint32_t seed = 0;
std::filesystem::path left_in;
const char* mountpoint = nullptr;

[[noreturn]] void cut() {  // REQUIRES: mutex is held; nothing changes any more
  tree.leave(left_in, seed);
  std::printf("changes %llu\n", static_cast<unsigned long long>(changes));
  std::fflush(stdout);
  ::umount2(mountpoint, MNT_DETACH);
  std::_Exit(0);
}

void change() {
  if (++changes == cut_before) cut();
}

// The next change would be one that finds no room.
bool is_full() {
  if (full_from == 0 || changes + 1 < full_from) return false;
  ++changes;
  return true;
}

using Lock = std::lock_guard<std::mutex>;

// The file that is open, also when its name is gone.
NodePtr* handle(const fuse_file_info* info) {
  return info != nullptr && info->fh != 0 ? reinterpret_cast<NodePtr*>(info->fh) : nullptr;
}
NodePtr node_of(const char* path, const fuse_file_info* info) {
  if (const NodePtr* opened = handle(info)) return *opened;
  return path != nullptr ? tree.find(path) : nullptr;
}

int get_attributes(const char* path, struct stat* out, fuse_file_info* info) {
  const Lock lock(mutex);
  const NodePtr node = node_of(path, info);
  if (!node) return -ENOENT;
  *out = {};
  out->st_ino = node->ino;
  out->st_mode = node->mode;
  out->st_nlink = 1;
  out->st_uid = ::getuid();
  out->st_gid = ::getgid();
  out->st_size = static_cast<off_t>(node->content.size());
  out->st_blocks = static_cast<blkcnt_t>((node->content.size() + 511) / 512);
  return 0;
}

int add(const char* path, mode_t mode, NodePtr* made) {
  const auto [folder, name] = tree.parent(path);
  if (!folder) return -ENOENT;
  if (folder->names.contains(name)) return -EEXIST;
  if (is_full()) return -ENOSPC;
  change();
  const NodePtr node = folder->names[name] = tree.make(mode);
  if (made != nullptr) *made = node;
  return 0;
}

int make_folder(const char* path, mode_t mode) {
  const Lock lock(mutex);
  return add(path, S_IFDIR | mode, nullptr);
}

int remove_name(const char* path) {
  const Lock lock(mutex);
  const auto [folder, name] = tree.parent(path);
  if (!folder || !folder->names.contains(name)) return -ENOENT;
  if (!folder->names[name]->names.empty()) return -ENOTEMPTY;
  change();
  folder->names.erase(name);
  return 0;
}

int rename_file(const char* from, const char* to, unsigned flags) {
  const Lock lock(mutex);
  const auto [folder, name] = tree.parent(from);
  const auto [other, other_name] = tree.parent(to);
  if (!folder || !other || !folder->names.contains(name)) return -ENOENT;
  const auto target = other->names.find(other_name);
  if (target != other->names.end() && (flags & RENAME_NOREPLACE) != 0) return -EEXIST;
  if ((flags & ~static_cast<unsigned>(RENAME_NOREPLACE)) != 0) return -EINVAL;
  if (target != other->names.end() && !target->second->names.empty()) return -ENOTEMPTY;
  change();
  const NodePtr node = folder->names[name];
  folder->names.erase(name);
  other->names[other_name] = node;
  return 0;
}

int link_file(const char* from, const char* to) {
  const Lock lock(mutex);
  const NodePtr node = tree.find(from);
  const auto [folder, name] = tree.parent(to);
  if (!node || !folder) return -ENOENT;
  if (folder->names.contains(name)) return -EEXIST;
  change();
  folder->names[name] = node;
  return 0;
}

int open_node(const char* path, fuse_file_info* info) {
  const Lock lock(mutex);
  const NodePtr node = tree.find(path);
  if (!node) return -ENOENT;
  info->fh = reinterpret_cast<std::uint64_t>(new NodePtr(node));
  return 0;
}

int create_file(const char* path, mode_t mode, fuse_file_info* info) {
  {
    const Lock lock(mutex);
    if (const int failure = add(path, S_IFREG | mode, nullptr); failure != 0) return failure;
  }
  return open_node(path, info);
}

int release(const char*, fuse_file_info* info) {
  const Lock lock(mutex);
  delete handle(info);
  return 0;
}

int read_file(const char* path, char* out, std::size_t size, off_t at, fuse_file_info* info) {
  const Lock lock(mutex);
  const NodePtr node = node_of(path, info);
  if (!node) return -ENOENT;
  if (static_cast<std::size_t>(at) >= node->content.size()) return 0;
  return static_cast<int>(node->content.copy(out, size, static_cast<std::size_t>(at)));
}

int write_file(const char* path, const char* data, std::size_t size, off_t at, fuse_file_info* info) {
  const Lock lock(mutex);
  const NodePtr node = node_of(path, info);
  if (!node) return -ENOENT;
  if (is_full()) return -ENOSPC;
  change();
  const std::size_t begin = static_cast<std::size_t>(at);
  if (node->content.size() < begin + size) node->content.resize(begin + size);
  node->content.replace(begin, size, data, size);
  return static_cast<int>(size);
}

int truncate_file(const char* path, off_t size, fuse_file_info* info) {
  const Lock lock(mutex);
  const NodePtr node = node_of(path, info);
  if (!node) return -ENOENT;
  change();
  node->content.resize(static_cast<std::size_t>(size));
  return 0;
}

int allocate(const char* path, int mode, off_t at, off_t length, fuse_file_info* info) {
  const Lock lock(mutex);
  const NodePtr node = node_of(path, info);
  if (!node) return -ENOENT;
  const auto begin = static_cast<std::size_t>(at), end = static_cast<std::size_t>(at + length);
  if (is_full()) return -ENOSPC;
  change();
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && node->content.size() < end) node->content.resize(end);
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == 0 || begin >= node->content.size()) return 0;
  const std::size_t zeros = std::min(end, node->content.size()) - begin;
  node->content.replace(begin, zeros, zeros, '\0');
  return 0;
}

int sync_node(const char* path, int, fuse_file_info* info) {
  const Lock lock(mutex);
  const NodePtr node = node_of(path, info);
  if (!node) return -ENOENT;
  change();
  node->sync();
  return 0;
}

int read_folder(const char* path, void* out, fuse_fill_dir_t fill, off_t, fuse_file_info* info, fuse_readdir_flags) {
  const Lock lock(mutex);
  const NodePtr node = node_of(path, info);
  if (!node) return -ENOENT;
  fill(out, ".", nullptr, 0, {});
  fill(out, "..", nullptr, 0, {});
  for (const auto& [name, child] : node->names) {
    struct stat attributes {};
    attributes.st_ino = child->ino;
    attributes.st_mode = child->mode;
    fill(out, name.c_str(), &attributes, 0, {});
  }
  return 0;
}

int change_mode(const char* path, mode_t mode, fuse_file_info* info) {
  const Lock lock(mutex);
  const NodePtr node = node_of(path, info);
  if (!node) return -ENOENT;
  node->mode = (node->mode & S_IFMT) | (mode & 07777U);
  return 0;
}

int set_times(const char*, const timespec*, fuse_file_info*) {
  return 0;
}

void* begin(fuse_conn_info*, fuse_config* config) {
  config->use_ino = 1;
  config->hard_remove = 1;
  config->nullpath_ok = 1;
  // Those who look see what is there now, not a second ago.
  config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
  // Only now, not before the kernel has been answered.
  std::puts("ready");
  std::fflush(stdout);
  return nullptr;
}

fuse_operations operations() {
  fuse_operations made{};
  made.getattr = get_attributes;
  made.mkdir = make_folder;
  made.unlink = made.rmdir = remove_name;
  made.rename = rename_file;
  made.link = link_file;
  made.open = made.opendir = open_node;
  made.create = create_file;
  made.release = made.releasedir = release;
  made.read = read_file;
  made.write = write_file;
  made.truncate = truncate_file;
  made.fallocate = allocate;
  made.fsync = made.fsyncdir = sync_node;
  made.readdir = read_folder;
  made.chmod = change_mode;
  made.utimens = set_times;
  made.init = begin;
  return made;
}

int run(char** words) {
  mountpoint = words[1];
  tree.load(words[2]);
  left_in = words[3];
  seed = static_cast<std::uint32_t>(std::strtoul(words[4], nullptr, 10));
  cut_before = std::strtoull(words[5], nullptr, 10);
  full_from = std::strtoull(words[6], nullptr, 10);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    mutex.lock();
    cut();
  }).detach();
  char name[] = "power_cut", foreground[] = "-f", one_thread[] = "-s";
  char* options[] = {name, foreground, one_thread, words[1], nullptr};
  const fuse_operations made = operations();
  return fuse_main(4, options, &made, nullptr);
}

}  // namespace
}  // namespace dadi::power_cut

int main(int count, char** words) {
  if (count == 7) return dadi::power_cut::run(words);
  std::fprintf(stderr, "power_cut MOUNTPOINT BEFORE AFTER SEED CUT FULL\n");
  return 2;
}
