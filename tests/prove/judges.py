"""The judges of a case: the planner's own (verifier and tree model), the kernel, e2fsck, and the program from outside.

    verdict = Judge(planner, folder).judge(case)
    verdict.fault     # "" or "JUDGE: what is wrong", with the layer
"""
import collections
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "cli"))
from images import Layout, read_manifest  # noqa: E402

import kernel  # noqa: E402
from entries import tar_of  # noqa: E402
from oracle import Oracle, Refused  # noqa: E402


@dataclasses.dataclass
class Verdict:
    fault: str = ""
    layers: int = 0  # that were judged
    ended: str = ""  # why there were not more: "full", "refused"
    events: collections.Counter = dataclasses.field(default_factory=collections.Counter)


class Planner:
    """prove_planner as a process, started again after it ended."""

    def __init__(self, binary):
        self.binary, self.process = binary, None

    def ask(self, line):
        if self.process is None:
            self.process = subprocess.Popen([self.binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.process.stdin.write(os.fsencode(line) + b"\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            status = self.process.wait()
            self.process = None
            return "fault", f"the planner ended with status {status}"
        word, _, text = answer.decode(errors="replace").rstrip("\n").partition(" ")
        return word, text

    def close(self):
        if self.process:
            self.process.communicate()
            self.process = None


class Judge:
    """Judges cases, one at a time, in a folder of its own. With `dadi`, a program, it can also judge conversions."""

    def __init__(self, planner, folder, dadi=None, environment=None):
        self.planner, self.dadi, self.environment = planner, dadi, environment
        self.folder = pathlib.Path(folder)
        self.point = self.folder / "mounted"
        self.point.mkdir(parents=True, exist_ok=True)
        self.mounts = not kernel.cannot_mount()

    def judge(self, case, with_e2fsck=False, with_dadi=False):
        tars = []
        for i, layer in enumerate(case.layers):
            tars.append(self.folder / f"layer-{i}.tar")
            tars[-1].write_bytes(tar_of(layer))
        return self.judge_archives(tars, case.device, with_e2fsck, with_dadi)

    def judge_archives(self, tars, size, with_e2fsck=False, with_dadi=False):
        verdict, oracle, disk = Verdict(), Oracle(), self.folder / "device"
        self.planner.ask(f"device {size} {disk}")
        for i, tar in enumerate(tars):
            word, text = self.planner.ask(f"layer {tar}")
            if word == "fault":
                verdict.fault = f"planner: layer {i}: {text}"
                return verdict
            if word == "full":
                verdict.ended = word
                break
            fault = self.judge_layer(oracle, tar, word, text, disk)
            if fault or word == "refused":
                verdict.ended, verdict.fault = word, fault and f"layer {i}: {fault}"
                break
            verdict.layers += 1
            self.count(verdict.events, text)
        verdict.events.update(oracle.events)
        if not verdict.fault and verdict.layers and with_e2fsck:
            verdict.fault = e2fsck(disk)
        if not verdict.fault and not verdict.ended and with_dadi:
            verdict.fault = self.judge_conversion(tars, size, oracle)
        disk.unlink()
        return verdict

    def judge_layer(self, oracle, tar, word, text, disk):
        try:
            oracle.apply(tar)
        except Refused as reason:
            return "" if word == "refused" else f"oracle: refuses: {reason}"
        if word == "refused":
            return f"oracle: accepts what was refused: {text}"
        return self.judge_mounted(disk, oracle)

    def judge_mounted(self, disk, oracle):
        if not self.mounts:
            return ""
        try:
            with kernel.Mounted(disk, self.point) as mounted:
                found = kernel.walk(self.point)
        except OSError as error:
            return f"kernel: {error}"
        if mounted.messages:
            return f"kernel: says: {'; '.join(mounted.messages)}"
        difference = kernel.first_difference(found, oracle.facts())
        return difference and f"kernel: {difference}"

    @staticmethod
    def count(events, features):
        for feature in features.split():
            name, value = feature.split("=")
            events["device: " + name] += int(value)

    def judge_conversion(self, tars, size, oracle):
        """The same through the program: convert, check, verify, export; the export is mounted too."""
        top = self.folder / "program"
        shutil.rmtree(top, ignore_errors=True)
        Layout(top / "source").add_image([tar.read_bytes() for tar in tars])
        commands = [["convert", "--no-cache", "--virtual-size", str(size), f"oci:{top}/source", f"oci:{top}/image"],
                    ["check", f"oci:{top}/image"], ["verify", f"oci:{top}/source", f"oci:{top}/image"],
                    ["export", f"oci:{top}/image", top / "disk"]]
        for command in commands:
            run = subprocess.run([self.dadi, "-q", *command], env=self.environment, capture_output=True, text=True,
                                 errors="replace", check=False)
            if run.returncode:
                return "" if "no free" in run.stderr else f"program: {command[0]}: {run.stderr.strip()}"
        manifest, _ = read_manifest(top / "image")
        if len(manifest["layers"]) != len(tars):
            return f"program: {len(manifest['layers'])} layers of {len(tars)}"
        fault = e2fsck(top / "disk") or self.judge_mounted(top / "disk", oracle)
        shutil.rmtree(top)
        return fault and f"program: {fault}"


def e2fsck(disk):
    program = shutil.which("e2fsck", path=os.environ.get("PATH", "") + ":/sbin:/usr/sbin")
    if program is None:
        return ""
    run = subprocess.run([program, "-fn", disk], capture_output=True, text=True, errors="replace", check=False)
    return f"e2fsck: {' '.join(run.stdout.split())}" if run.returncode else ""
