"""What the tests of this folder share: where the programs are, and a judge."""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "cli"))
import harness  # noqa: E402

import kernel  # noqa: E402
from judges import Judge, Planner  # noqa: E402

from generator import Generator  # noqa: E402

node_of = Generator.node_of
LONG = bool(os.environ.get("DADI_LONG"))


def run(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


class Test(harness.Test):
    """A test with self.judge. Says loudly when the kernel cannot judge here: the other judges still do."""

    def setUp(self):
        super().setUp()
        planner = Planner(pathlib.Path(harness.BINARY).parent / "prove_planner")
        self.addCleanup(planner.close)
        self.judge = Judge(planner, self.folder, harness.BINARY, harness.environment())
        if not self.judge.mounts:
            print(f"SKIPPED the kernel as judge: {kernel.cannot_mount()}", file=sys.stderr)
