"""The kernel as a judge: a device mounted read-only through a loop device, and everything that system calls tell of it."""
import ctypes
import errno
import fcntl
import os
import stat
import struct

from oracle import LARGE, content_digest

LOOP_CTL_GET_FREE, LOOP_CONFIGURE = 0x4C82, 0x4C0A
READ_ONLY, AUTO_CLEAR = 1, 4
MS_RDONLY = 1
LIBC = ctypes.CDLL(None, use_errno=True)
TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char",
         stat.S_IFBLK: "block", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}


def cannot_mount():
    """Why nothing can be mounted here; "" if it can be."""
    if os.geteuid() != 0:
        return "needs root"
    try:
        os.close(os.open("/dev/loop-control", os.O_RDWR))
    except OSError as error:
        return f"no loop devices: {error}"
    return ""


class Mounted:
    """A disk image, mounted while the context lasts. Gives the mount point; `messages` is what the kernel said of it."""

    def __init__(self, disk, point):
        self.disk, self.point, self.messages = os.fspath(disk), os.fspath(point), []

    def __enter__(self):
        self.log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.log, 0, os.SEEK_END)
        self.loop = attach(self.disk)
        device = os.readlink(f"/proc/self/fd/{self.loop}")
        self.name = os.path.basename(device)
        if LIBC.mount(device.encode(), self.point.encode(), b"ext4", MS_RDONLY, b"noload"):
            error = ctypes.get_errno()
            self.finish()
            raise OSError(error, f"mount: {os.strerror(error)}: {'; '.join(self.messages)}")
        return self

    def __exit__(self, *_):
        while LIBC.umount2(self.point.encode(), 0):
            if ctypes.get_errno() != errno.EBUSY:
                raise OSError(ctypes.get_errno(), "umount")
        self.finish()

    def finish(self):
        os.close(self.loop)  # the loop device goes with its last user
        while True:
            try:
                line = os.read(self.log, 8192).decode(errors="replace")
            except BlockingIOError:
                break
            except BrokenPipeError:  # messages were overwritten
                continue
            text = line.partition(";")[2].partition("\n")[0]
            if f"({self.name})" in text and not text.startswith(("EXT4-fs (%s): mounted" % self.name,
                                                                 "EXT4-fs (%s): unmounting" % self.name)):
                self.messages.append(text)
        os.close(self.log)


def attach(disk):
    """A read-only loop device on a file, by its descriptor."""
    backing = os.open(disk, os.O_RDONLY)
    try:
        for attempt in range(50):
            control = os.open("/dev/loop-control", os.O_RDWR)
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            os.close(control)
            loop = os.open(f"/dev/loop{number}", os.O_RDWR)
            info = struct.pack("<5Q4I64s64s32s16x", 0, 0, 0, 0, 0, 0, 0, 0, READ_ONLY | AUTO_CLEAR, b"", b"", b"")
            try:
                fcntl.ioctl(loop, LOOP_CONFIGURE, struct.pack("<II", backing, 4096) + info + bytes(64))
                return loop
            except OSError as error:  # somebody else was faster
                os.close(loop)
                if error.errno != errno.EBUSY or attempt == 49:
                    raise
    finally:
        os.close(backing)


def walk(point):
    """Everything below a mount point: path -> facts, as the oracle gives them. A /lost+found is told like the rest."""
    found, inodes = {}, {}
    waiting = [b""]
    point = os.fsencode(point)
    while waiting:
        path = waiting.pop()
        full = os.path.join(point, path)
        info = os.lstat(full)
        kind = TYPES[stat.S_IFMT(info.st_mode)]
        facts = {"type": kind, "mode": stat.S_IMODE(info.st_mode), "uid": info.st_uid, "gid": info.st_gid,
                 "mtime": info.st_mtime_ns, "links": info.st_nlink,
                 "xattrs": {os.fsencode(name): os.getxattr(full, name, follow_symlinks=False)
                            for name in os.listxattr(full, follow_symlinks=False)}}
        if (info.st_atime_ns, info.st_ctime_ns) != (info.st_mtime_ns,) * 2:
            facts["other times"] = (info.st_atime_ns, info.st_ctime_ns)
        if kind == "directory":
            waiting += [os.path.join(path, name) for name in os.listdir(full)]
        elif kind == "file":
            facts["size"], facts["content"] = info.st_size, read_content(full, info.st_size)
        elif kind == "symlink":
            facts["target"] = os.readlink(full)
            if info.st_size != len(facts["target"]):
                facts["size"] = info.st_size
        elif kind in ("char", "block"):
            facts["device"] = (os.major(info.st_rdev), os.minor(info.st_rdev))
        if kind != "directory":
            inodes.setdefault(info.st_ino, []).append(path)
        found[path] = facts
    for paths in inodes.values():
        if len(paths) > 1:
            first = min(paths)
            for path in paths:
                found[path]["same as"] = first
    return found


def read_content(path, size):
    with open(path, "rb", buffering=0) as file:
        if size <= LARGE:
            return content_digest(size, [(0, file.readall())])
        pieces, at = [], 0
        while True:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # only a hole is left
                return content_digest(size, pieces)
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            while at < end:
                data = os.pread(file.fileno(), min(end - at, 1 << 20), at)
                pieces.append((at, data))
                at += len(data)


def first_difference(found, expected):
    """The first path at which two trees differ, in words; "" if they are the same. An own lost+found is overlooked."""
    if b"lost+found" in found and b"lost+found" not in expected:
        found = {path: facts for path, facts in found.items() if path != b"lost+found"}
        found[b""] = dict(found[b""], links=found[b""]["links"] - 1)
    for path in sorted(set(found) | set(expected)):
        if path not in found:
            return f"{path!r} is missing"
        if path not in expected:
            return f"{path!r} should not be"
        for key in sorted(set(found[path]) | set(expected[path])):
            if found[path].get(key) != expected[path].get(key):
                return f"{path!r}: {key} {found[path].get(key)!r}, should be {expected[path].get(key)!r}"[:600]
    return ""
