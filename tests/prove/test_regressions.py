"""Images that something was wrong with once, in testdata/images: each against every judge."""
import json

import images_under_test
from images_under_test import harness

IMAGES = harness.REPOSITORY / "testdata/images"


class Regressions(images_under_test.Test):
    def test_images_that_were_wrong_once_are_right(self):
        folders = sorted(IMAGES.iterdir())
        self.assertGreater(len(folders), 2)
        for folder in folders:
            about = json.loads((folder / "image.json").read_text())
            tars = [folder / f"layer-{i}.tar" for i in range(len(about["layers"]))]
            self.assertEqual(sorted(folder.glob("*.tar")), sorted(tars), folder.name)
            with self.subTest(folder.name):
                verdict = self.judge.judge_archives(tars, about["device"], with_e2fsck=True, with_dadi=True)
                self.assertEqual((verdict.fault, verdict.ended), ("", about.get("ends", "")), about["about"])


if __name__ == "__main__":
    harness.main()
