"""A virtual machine with Debian's kernel, in memory alone, for what this machine's kernel cannot show: loading nbd.ko.

    guest = Guest(folder)                      # folder: for its initramfs and its log
    guest.program("build/release/bin/dadi")    # into /bin, with the libraries that it needs
    guest.file("image.tar", "/image.tar")
    guest.disk("device.raw")                   # /dev/vda, read-only
    steps = guest.run(SCRIPT, seconds=300)     # {"name of a step": "ok", or why not, …}

The script runs as the last part of /init under busybox's sh. `step NAME` begins a step, which ends well when the next one
begins; the script ends with `done_all`. Needs qemu, busybox-static and the kernel that scripts/guest-kernel fetches;
nothing of it is installed on, or run as root of, this machine.
"""
import os
import pathlib
import re
import shutil
import stat
import struct
import subprocess
import sys
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
QEMU = "qemu-system-x86_64"
BUSYBOX = pathlib.Path("/bin/busybox")
# Where a machine is itself a guest, kvm may be there, and then hang.
ACCELERATOR = os.environ.get("DADI_GUEST_ACCELERATOR", "tcg")

PRELUDE = """#!/bin/sh
export PATH=/bin:/sbin HOME=/root
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/shm; mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /run
now() { cut -d' ' -f1 /proc/uptime; }
say() { echo "@@$*"; }
step() { [ -z "$STEP" ] || say "ok $STEP"; STEP=$*; say "at $(now) $STEP"; }
fail() { say "failed $STEP: $*"; tail -n 30 /run/log /run/dadi/devices/*/log; dmesg | tail -n 40; poweroff -f; sleep 600; }
done_all() { [ -z "$STEP" ] || say "ok $STEP"; say "end $(now)"; poweroff -f; sleep 600; }
# until SECONDS COMMAND…: waits for the command to succeed
until_true() {
  local left=$(($1 * 20)); shift
  while ! "$@"; do left=$((left - 1)); [ $left -gt 0 ] || return 1; usleep 50000; done
}
step boot
for module in $(cat /modules/order); do
  insmod /modules/$module.ko $(cat /modules/$module.options 2>/dev/null) || fail "insmod $module"
done
ip link set lo up
"""


def kernel_folder():
    """Where the guest's kernel is, or a reason to skip."""
    if shutil.which(QEMU) is None:
        raise unittest.SkipTest(f"{QEMU} is not installed (scripts/install test)")
    if not BUSYBOX.exists() or b"/ld-linux" in BUSYBOX.read_bytes()[:4096]:
        raise unittest.SkipTest("busybox-static is not installed (scripts/install test)")
    found = subprocess.run([REPOSITORY / "scripts/guest-kernel"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise unittest.SkipTest(f"no kernel for a guest: {found.stderr.strip()}")
    return pathlib.Path(found.stdout.strip())


def data_of(path):
    """Where a sparse file has data: offsets and lengths."""
    extents, end = [], 0
    with open(path, "rb") as file:
        while True:
            try:
                begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                return extents
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            extents.append((begin, end - begin))


class Cpio:
    """An initramfs, being written: the "newc" form, Documentation/driver-api/early-userspace/buffer-format.rst."""

    def __init__(self, path):
        self.out = open(path, "wb")
        self.inode = 0
        self.names = set()

    def entry(self, name, mode, data=b""):
        self.inode += 1
        name = name.strip("/").encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        self.padded(b"070701" + b"".join(b"%08x" % field for field in fields) + name)
        self.padded(data)

    def padded(self, data):
        self.out.write(data + b"\0" * (-len(data) % 4))

    def folder(self, name):
        name = name.strip("/")
        if name and name not in self.names:
            self.folder(os.path.dirname(name))
            self.names.add(name)
            self.entry(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o644):
        if name not in self.names:
            self.folder(os.path.dirname(name))
            self.names.add(name)
            self.entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        if name not in self.names:
            self.names.add(name)
            self.entry(name, stat.S_IFLNK | 0o777, target.encode())

    def close(self):
        self.entry("TRAILER!!!", 0)
        self.out.close()


class Guest:
    def __init__(self, folder, modules=("virtio_pci", "virtio_blk", "nbd"), memory="768M", processors=2):
        self.kernel = kernel_folder()
        self.folder = pathlib.Path(folder)
        self.initramfs = self.folder / "initramfs"
        self.log = self.folder / "serial.log"
        self.options = ["-m", memory, "-smp", str(processors)]
        self.cpio = Cpio(self.initramfs)
        for name in ("proc", "sys", "dev", "tmp", "run", "mnt", "root", "lib64"):
            self.cpio.folder(name)
        self.cpio.file("bin/busybox", BUSYBOX.read_bytes(), 0o755)
        self.modules = []
        for name in modules:
            self.module(name)

    def module(self, name):
        """A kernel module, after those that it depends on; not one that is built in."""
        if name in self.modules:
            return
        found = [path for path in (self.kernel / "lib/modules").rglob(f"{name.replace('-', '_')}.ko*")]
        found += [path for path in (self.kernel / "lib/modules").rglob(f"{name.replace('_', '-')}.ko*")]
        if not found:
            return
        data = found[0].read_bytes() if found[0].suffix == ".ko" else subprocess.run(
            [{".xz": "xz", ".zst": "zstd"}[found[0].suffix], "-dc", found[0]], capture_output=True, check=True).stdout
        for needed in re.search(rb"\0depends=([^\0]*)\0", data)[1].decode().split(","):
            if needed:
                self.module(needed)
        self.cpio.file(f"modules/{name}.ko", data)
        self.modules.append(name)

    def program(self, path, name=None):
        """An executable, into /bin, and the shared libraries that it is linked with."""
        path = pathlib.Path(shutil.which(path))
        self.cpio.file(f"bin/{name or path.name}", path.read_bytes(), 0o755)
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(/\S+)", listed):
            self.cpio.file(library.strip("/"), pathlib.Path(library).read_bytes(), 0o755)

    def file(self, source, destination):
        self.cpio.file(destination.strip("/"), pathlib.Path(source).read_bytes())

    def tree(self, source, destination):
        """Every file of a folder."""
        for path in sorted(pathlib.Path(source).rglob("*")):
            if path.is_file():
                self.file(path, f"{destination}/{path.relative_to(source)}")

    def disk(self, source, writable=False):
        """A disk: /dev/vda, /dev/vdb, … `source`: a raw file, or an nbd URI."""
        self.options += ["-drive", f"file={source},format=raw,if=virtio,readonly={'off' if writable else 'on'}"]

    def pack(self, script, options=None):
        """Makes the initramfs, once all is in it. options: {module: "what insmod is given"}."""
        for applet in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
            self.cpio.link(f"bin/{applet}", "busybox")
        for module, words in (options or {"nbd": "nbds_max=4 max_part=0"}).items():
            self.cpio.file(f"modules/{module}.options", words.encode())
        self.cpio.file("modules/order", "\n".join(self.modules).encode())
        self.cpio.file("init", (PRELUDE + script + "\ndone_all\n").encode(), 0o755)
        self.cpio.close()

    def command(self, parameters=""):
        """What boots it; `parameters` are found in /proc/cmdline."""
        image = next((self.kernel / "boot").glob("vmlinuz-*"))
        # Without a real clock and mitigations it boots in half the time; cmpxchg16b is not sound in qemu's emulation.
        return [QEMU, "-machine", f"q35,accel={ACCELERATOR}", "-cpu", "max,-cx16", "-nodefaults", "-no-reboot",
                "-display", "none", "-monitor", "none", "-serial", f"file:{self.log}", *self.options,
                "-kernel", image, "-initrd", self.initramfs, "-append",
                f"console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off tsc=reliable no_timer_check {parameters}"]

    def run(self, script, seconds, options=None):
        """Boots, runs the script, and tells how each of its steps ended. options: as of pack()."""
        self.pack(script, options)
        try:
            qemu = subprocess.run(self.command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                                  timeout=seconds)
            ending = qemu.stderr.strip() or "the guest ended before it"
        except subprocess.TimeoutExpired:
            ending = f"not finished after {seconds} s"
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        steps = dict.fromkeys(re.findall(r"^@@at [\d.]+ (.*?)\r?$", text, re.MULTILINE), ending)
        steps.update({name: "ok" for name in re.findall(r"^@@ok (.*?)\r?$", text, re.MULTILINE)})
        steps.update(re.findall(r"^@@failed (.*?): (.*?)\r?$", text, re.MULTILINE))
        if any(how != "ok" for how in steps.values()) or not steps:
            print(f"{ending}\n{text[-20000:]}", file=sys.stderr)
        return steps
