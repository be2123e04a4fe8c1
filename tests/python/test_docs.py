"""The examples of docs/python.md, run in order as one program, and the statements around them that can be checked."""

import contextlib
import io
import os
import re
import unittest

import support

ROOT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..")


class Guide(unittest.TestCase):
    def test_examples(self):
        support.shipped(self)
        with open(os.path.join(ROOT, "docs", "python.md"), encoding="utf-8") as f:
            text = f.read()
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
        self.assertGreater(len(blocks), 4)
        folder, before, names, printed = support.scratch(self), os.getcwd(), {}, io.StringIO()
        support.disc(os.path.join(folder, "red.png"), (220, 30, 40))
        support.disc(os.path.join(folder, "blue.png"), (30, 90, 220))
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(printed):
                for i, block in enumerate(blocks):
                    with self.subTest(block=i):
                        exec(compile(block, f"docs/python.md, block {i}", "exec"), names)
        finally:
            os.chdir(before)
        for said in re.findall(r"print\(e\) +# (.*)", text):
            self.assertIn(said, printed.getvalue())

    def test_every_name_has_its_words(self):
        """What is public has a docstring; what the guide calls mrd.X is there."""
        import meridian as mrd
        with open(os.path.join(ROOT, "docs", "python.md"), encoding="utf-8") as f:
            for name in re.findall(r"\bmrd\.(\w+)", f.read()):
                self.assertIn(name, mrd.__all__)
        for name in mrd.__all__:
            thing = getattr(mrd, name)
            if not isinstance(thing, str):
                self.assertTrue(thing.__doc__, name)
        for kind in (mrd.Model, mrd.Adapter):
            for name, thing in vars(kind).items():
                if not name.startswith("_"):
                    self.assertTrue(getattr(thing, "__func__", thing).__doc__, name)


if __name__ == "__main__":
    unittest.main()
