#!/usr/bin/env python3
"""Random images of several layers, judged by the verifier, the tree model, the kernel, e2fsck and the program from outside.

    scripts/prove --seeds 1-10000
    scripts/prove --seconds 3600 --keep /tmp/found

A case that fails is made small and kept: its layers as tar files, and what is wrong. Moved to testdata/images it is a
regression test. The exit status says whether all were right.
"""
import argparse
import collections
import itertools
import json
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import kernel
from entries import tar_of
from generator import Case
from judges import Judge, Planner
from shrink import shrink


class Prover:
    """Judges seeds, shrinks what fails, and counts. `keep`: where failing cases go."""

    def __init__(self, judge, keep, e2fsck_every=10, program_every=40):
        self.judge, self.keep = judge, pathlib.Path(keep)
        self.e2fsck_every, self.program_every = e2fsck_every, program_every
        self.counts, self.reached, self.faults = collections.Counter(), collections.Counter(), []

    def prove(self, seed):
        case = Case.from_seed(seed)
        with_e2fsck = seed % self.e2fsck_every == 0
        with_dadi = self.judge.dadi is not None and seed % self.program_every == 0
        verdict = self.judge.judge(case, with_e2fsck, with_dadi)
        self.counts.update({"cases": 1, "layers": verdict.layers, "theme " + case.theme: 1, "e2fsck": with_e2fsck,
                            "through the program": with_dadi, "mounts": verdict.layers * self.judge.mounts})
        self.counts["ended " + (verdict.ended or "whole")] += 1
        self.reached.update({name: 1 for name, count in verdict.events.items() if count})
        if verdict.fault:
            print(f"seed {seed}: {verdict.fault}", flush=True)
            self.faults.append((seed, verdict.fault, self.keep_small(f"seed-{seed}", case, verdict.fault)))

    def keep_small(self, name, case, fault):
        """Shrinks a case by the judge that found the fault, and writes it to a folder of its own."""
        judge_name = fault_kind(fault)

        def is_wrong(layers):
            verdict = self.judge.judge(Case(layers, case.device), judge_name == "e2fsck", judge_name == "program")
            return fault_kind(verdict.fault) == judge_name
        layers = shrink(case.layers, is_wrong)
        verdict = self.judge.judge(Case(layers, case.device), judge_name == "e2fsck", judge_name == "program")
        folder = self.keep / name
        write_case(folder, layers, case.device, verdict.fault or fault)
        print(f"  kept in {folder}: {len(layers)} layers, {sum(map(len, layers))} entries", flush=True)
        return folder


def fault_kind(fault):
    """The judge that speaks: "layer 2: kernel: b'a' is missing" -> "kernel"."""
    words = fault.split(": ")
    return words[1] if words[0].startswith("layer ") else words[0]


def write_case(folder, layers, device, about):
    """A case as a folder: layer-0.tar and so on, and image.json, which says what it is about and the device's size."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for i, layer in enumerate(layers):
        (folder / f"layer-{i}.tar").write_bytes(tar_of(layer))
    listing = [[str(entry) for entry in layer] for layer in layers]
    (folder / "image.json").write_text(json.dumps({"about": about, "device": device, "layers": listing}, indent=1) + "\n")


def seed_range(text):
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seed_range, help="FIRST-LAST, or one")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    parser.add_argument("--build", type=pathlib.Path, required=True, help="where prove_planner and dadi are")
    parser.add_argument("--keep", default="/tmp/dadi-found", help="where failing cases go (%(default)s)")
    parser.add_argument("--stop", type=int, default=5, help="after so many failing cases (%(default)s)")
    options = parser.parse_args()
    if options.seeds is None and options.seconds is None:
        parser.error("--seeds or --seconds")
    why_not = kernel.cannot_mount()
    if why_not:
        print(f"The kernel does not judge: {why_not}")
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell without job control has SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix="dadi-prove-", dir="/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None)
    planner = Planner(options.build / "prove_planner")
    prover = Prover(Judge(planner, folder, options.build / "dadi"), options.keep)
    try:
        for seed in options.seeds or itertools.count(1):
            prover.prove(seed)
            if len(prover.faults) >= options.stop or options.seconds and time.monotonic() - began > options.seconds:
                break
            if prover.counts["cases"] % 200 == 0:
                print(f"{prover.counts['cases']} cases, {prover.counts['layers']} layers, last seed {seed}, "
                      f"{len(prover.faults)} failed, {time.monotonic() - began:.0f} s", flush=True)
    except KeyboardInterrupt:
        print(f"stopped at seed {seed}")
    finally:
        planner.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(", ".join(f"{name}: {count}" for name, count in sorted(prover.counts.items())))
    print("Cases that reached: " + ", ".join(f"{name}: {count}" for name, count in prover.reached.most_common()))
    print(f"{prover.counts['cases']} cases, {len(prover.faults)} failed, {time.monotonic() - began:.0f} s")
    sys.exit(bool(prover.faults))


if __name__ == "__main__":
    main()
