"""The numbers: against values computed by other people's code, against the program's --json, against themselves."""

import json
import os
import subprocess
import sys
import unittest

import numpy as np

import meridian as mrd
import support


class Models(unittest.TestCase):
    def test_clip(self):
        given, want = support.golden("clip_vit_tiny", "inputs.safetensors"), support.golden("clip_vit_tiny", "expected.safetensors")
        for engine, dtype, bar in ((None, "f32", 5e-5), ("ref", "f32", 5e-5), ("cpu", "bf16", 2e-2)):
            with mrd.Model(os.path.join(support.GOLDEN, "clip_vit_tiny"), engine=engine, threads=1, dtype=dtype) as m:
                x = m.encode_images(given["pixel_values"])
                self.assertEqual((x.dtype, x.shape), (np.float32, want["image_embeds"].shape))
                self.assertLessEqual(np.abs(x - want["image_embeds"]).max(), bar)
                with self.assertRaises(mrd.DataError):
                    m.encode_texts(["no tokenizer here"])
        self.assertIn("clip", repr(m))
        with self.assertRaisesRegex(ValueError, "closed"):
            m.encode_images(given["pixel_values"])
        m.close()

    def test_properties(self):
        m = mrd.Model(os.path.join(support.GOLDEN, "clip_vit_tiny"))
        self.assertEqual((m.family, m.layout, m.width, m.image_size, m.context, m.vocab), ("clip", "hf", 24, 32, 16, 300))
        self.assertTrue(m.name.endswith("clip_vit_tiny"))
        self.assertRegex(m.fingerprint, "^[0-9a-f]{64}$")
        self.assertEqual(m.fingerprint, mrd.Model(os.path.join(support.GOLDEN, "clip_vit_tiny")).fingerprint)
        self.assertGreater(m.logit_scale, 1)
        larger = mrd.Model(os.path.join(support.GOLDEN, "clip_vit_tiny"), image_size=48)
        self.assertEqual(larger.image_size, 48)
        self.assertNotEqual(larger.fingerprint, m.fingerprint)
        self.assertEqual(larger.encode_images(np.zeros((2, 3, 48, 48))).shape, (2, 24))
        with self.assertRaisesRegex(ValueError, r"expected \[n, 3, 48, 48\]"):
            larger.encode_images(np.zeros((2, 3, 32, 32)))

    def test_siglip(self):
        given, want = support.golden("siglip_tiny", "inputs.safetensors"), support.golden("siglip_tiny", "expected.safetensors")
        m = mrd.Model(os.path.join(support.GOLDEN, "siglip_tiny"))
        self.assertEqual(m.family, "siglip")
        key = next(k for k in want if k.startswith("image_embeds"))
        self.assertLessEqual(np.abs(m.encode_images(given["pixel_values"]) - want[key]).max(), 5e-5)

    def test_match(self):
        given, want = support.golden("blip_itm_tiny", "inputs.safetensors"), support.golden("blip_itm_tiny", "expected.safetensors")
        m = mrd.Model(support.speaking_model(support.scratch(self), "blip_itm_tiny"))
        words = [" ".join(f"w{i}" for i in row if i > 4) for row in given["input_ids"]]
        ids = m.tokenize(words)
        width = given["input_ids"].shape[1]
        same = [i for i in range(len(ids)) if (ids[i, :width] == given["input_ids"][i]).all()]
        self.assertTrue(same, "no text survives as words")
        logits = m.match(given["pixel_values"][same], [words[i] for i in same])
        two = want["itm_logits_enc"][same]
        self.assertLessEqual(np.abs(logits - (two[:, 1] - two[:, 0])).max(), 1e-4)
        with self.assertRaisesRegex(ValueError, "as many of each"):
            m.match(given["pixel_values"], ["w7"])
        self.assertEqual(m.match([], []).shape, (0,))

    def test_caption(self):
        given = support.golden("blip_caption_tiny", "inputs.safetensors")["pixel_values"]
        with open(os.path.join(support.GOLDEN, "blip_caption_tiny", "expected.json"), encoding="utf-8") as f:
            rows = json.load(f)["greedy_min_length_0"]
        m = mrd.Model(support.speaking_model(support.scratch(self), "blip_caption_tiny"))
        texts, scores = m.caption(given, prompt="w129 w122 w30", max_length=20, scores=True)
        self.assertEqual(texts, [" ".join(f"w{i}" for i in row[1:] if i != 3) for row in rows])
        self.assertTrue((scores < 0).all())
        self.assertEqual(m.caption(given[:1], prompt="w129 w122 w30", max_length=20), texts[:1])
        self.assertEqual(m.caption([]), [])
        with self.assertRaises(mrd.UnsupportedError):
            m.encode_images(given)
        clip = mrd.Model(os.path.join(support.GOLDEN, "clip_vit_tiny"))
        with self.assertRaises(mrd.UnsupportedError):
            clip.caption(given)

    def test_files(self):
        m = mrd.Model(support.shipped(self))
        folder = support.scratch(self)
        paths = [support.disc(os.path.join(folder, f"{k}.png"), c) for k, c in
                 (("red", (220, 30, 40)), ("blue", (30, 90, 220)))]
        x = m.encode_images(paths)
        np.testing.assert_allclose(x, m.encode_images(m.preprocess(paths)), atol=1e-6)
        np.testing.assert_allclose((x.astype(float) ** 2).sum(1), 1, atol=1e-5)
        t = m.encode_texts(["red circle", "blue circle"])
        self.assertEqual((x @ t.T).argmax(1).tolist(), [0, 1])
        np.testing.assert_array_equal(m.encode_image(paths), x)
        np.testing.assert_array_equal(m.encode_text(["red circle", "blue circle"]), t)
        self.assertEqual(m.tokenize(["red circle"]).dtype, np.int32)
        import pathlib
        np.testing.assert_array_equal(m.encode_images([pathlib.Path(paths[0]), os.fsencode(paths[1])]), x)
        with self.assertRaisesRegex(mrd.DataError, "nowhere.png"):
            m.encode_images([paths[0], "/nowhere.png"])
        with open(paths[1], "r+b") as f:
            f.truncate(60)
        with self.assertRaisesRegex(mrd.DataError, "blue.png"):
            m.encode_images(paths)


class Losses(unittest.TestCase):
    def test_golden(self):
        folder = os.path.join(support.SHARED, "golden", "losses")
        if not os.path.isdir(folder):
            self.skipTest("no golden losses")
        given, want = support.safetensors(folder, "inputs.safetensors"), support.safetensors(folder, "expected.safetensors")
        for tau in (0.01, 0.07):
            value, di, dt = mrd.loss("clip", given["image"], given["text"], tau=tau)
            self.assertAlmostEqual(value, float(want[f"clip.tau{tau}.value"]), delta=1e-9)
            np.testing.assert_allclose(di, want[f"clip.tau{tau}.grad_image"], rtol=0, atol=1e-9)
            np.testing.assert_allclose(dt, want[f"clip.tau{tau}.grad_text"], rtol=0, atol=1e-9)
        value, di, dt = mrd.loss("clip", given["raw_image"], given["raw_text"], normalize=True,
                                 temperature=float(np.exp(-given["logit_scale"])))
        self.assertAlmostEqual(value, float(want["clip_from_unnormalised.scale.value"]), delta=1e-9)
        np.testing.assert_allclose(di, want["clip_from_unnormalised.scale.grad_raw_image"], rtol=0, atol=1e-9)

    def test_every_loss(self):
        x, y = support.units(6, 5, 1), support.units(6, 5, 2)
        known = mrd.losses()
        self.assertTrue({"clip", "sigmoid"} <= set(known))
        for name, what in known.items():
            self.assertTrue(what["help"])
            options = {"temperature": 0.3} if "temperature" in what["options"] else {}
            value, di, dt = mrd.loss(name, x, y, **options)
            step = 1e-6 * di
            slope = (mrd.loss(name, x + step, y, **options)[0] - mrd.loss(name, x - step, y, **options)[0]) / 2e-6
            self.assertAlmostEqual(slope, (di * di).sum(), delta=1e-5 * (1 + (di * di).sum()))
            single = mrd.loss(name, x.astype("f4"), y.astype("f4"), **options)
            self.assertEqual((single[1].dtype, di.dtype), (np.float32, np.float64))
            self.assertAlmostEqual(single[0], value, delta=1e-4 * (1 + abs(value)))

    def test_defaults_are_the_listed_ones(self):
        x, y = support.units(6, 5, 1), support.units(6, 5, 2)
        for name, what in mrd.losses().items():
            defaults = {k: v["default"] for k, v in what["options"].items()}
            self.assertEqual(mrd.loss(name, x, y)[0], mrd.loss(name, x, y, **defaults)[0])

    def test_match(self):
        x, y = support.units(4, 5, 1), support.units(4, 5, 2)
        self.assertAlmostEqual(mrd.loss("clip", x, y, match=np.eye(4, dtype=bool))[0], mrd.loss("clip", x, y)[0])
        self.assertNotAlmostEqual(mrd.loss("clip", x, y, match=np.ones((4, 4), int))[0], mrd.loss("clip", x, y)[0])
        with self.assertRaisesRegex(ValueError, "0 and 1"):
            mrd.loss("clip", x, y, match=np.full((4, 4), 2))

    def test_refused(self):
        x = support.units(4, 5)
        for options, error, says in (({"tao": 1}, mrd.UsageError, "temperature"), ({"tau": "x"}, ValueError, '"x"'),
                                     ({"tau": float("nan")}, ValueError, "nan"), ({"tau": None}, TypeError, "NoneType"),
                                     ({"targets": "most"}, ValueError, "identity"), ({"tau": "1\0"}, ValueError, "NUL")):
            with self.assertRaisesRegex(error, says):
                mrd.loss("clip", x, x, **options)
        with self.assertRaisesRegex(mrd.UsageError, "clip, sigmoid"):
            mrd.loss("clap", x, x)
        with self.assertRaisesRegex(ValueError, "0 rows"):
            mrd.loss("clip", x[:0], x[:0])
        with self.assertRaisesRegex(ValueError, r"expected \[4, 5\]"):
            mrd.loss("clip", x, x[:3])


def printed(x):
    """Numbers with the 15 digits that the program prints."""
    if isinstance(x, dict):
        return {k: printed(v) for k, v in x.items()}
    if isinstance(x, list):
        return [printed(v) for v in x]
    return float(f"{x:.15g}") if isinstance(x, float) else x


class Measures(unittest.TestCase):
    def program(self, command, x, y, *more):
        if not support.PROGRAM:
            self.skipTest("no program to compare with")
        folder = support.scratch(self)
        a, b = os.path.join(folder, "a.npy"), os.path.join(folder, "b.npy")
        np.save(a, x)
        np.save(b, y)
        environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        done = subprocess.run([support.PROGRAM, "eval", command, "--json", "--images", a, "--texts", b, *more],
                              capture_output=True, text=True, check=False, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def compare(self, mine, theirs):
        extra = set(theirs) - set(mine)
        self.assertTrue(extra <= {"set", "model", "data", "protocol", "fingerprint", "mixed", "note"}, extra)
        self.assertEqual({k: theirs[k] for k in mine}, printed(mine))

    def test_retrieval_as_the_program(self):
        x = support.units(60, 8, 1, np.float32)
        y = (x + 0.3 * support.units(60, 8, 2)).astype(np.float32)
        self.compare(mrd.retrieval(x, y, bootstrap=40, seed=3), self.program("retrieval", x, y, "--bootstrap", "40", "--seed", "3"))
        self.compare(mrd.retrieval(x, y, bootstrap=0, temperature=0.2, bins=7, bins_mass=3),
                     self.program("retrieval", x, y, "--bootstrap", "0", "--temperature", "0.2", "--bins", "7", "--bins-mass", "3"))

    def test_geometry_as_the_program(self):
        x, y = support.units(60, 8, 1, np.float32), support.units(60, 8, 2, np.float32)
        self.compare(mrd.geometry(x, y, bootstrap=40, seed=3), self.program("geometry", x, y, "--bootstrap", "40", "--seed", "3"))

    def test_pairs(self):
        x = support.units(6, 4)
        order = np.random.default_rng(0).permutation(6)
        pairs = np.stack([np.arange(6), np.argsort(order)], 1)
        r = mrd.retrieval(x, x[order], pairs, bootstrap=0)
        self.assertEqual(r["image_to_text"]["recall"]["1"], 1)
        for kind in (np.int8, np.uint64, ">i4"):
            self.assertEqual(mrd.retrieval(x, x[order], pairs.astype(kind), bootstrap=0), r)
        self.assertEqual(mrd.retrieval(x, x[order], pairs.tolist(), bootstrap=0), r)
        self.assertEqual(mrd.retrieval(x, x[:2], [], bootstrap=0)["image_to_text"]["n_queries"], 0)
        for bad, error, says in (([[0, 6]], ValueError, r"\(0, 6\)"), ([[0.0, 1.0]], TypeError, "float64"),
                                 ([0, 1], ValueError, r"\[n, 2\]"), (np.array([[0, 2 ** 63]], np.uint64), ValueError, "no row"),
                                 (np.array([[True, False]]), TypeError, "bool")):
            with self.assertRaisesRegex(error, says):
                mrd.retrieval(x, x, bad)
        with self.assertRaisesRegex(ValueError, "same number"):
            mrd.geometry(x, x[:5])

    def test_nothing(self):
        empty = np.empty((0, 4))
        self.assertIsNone(mrd.geometry(empty, empty)["alignment"])
        self.assertEqual(mrd.retrieval(empty, empty)["image_to_text"]["n_queries"], 0)

    def test_sizes_that_no_machine_has(self):
        huge = np.broadcast_to(np.float16(1), (10 ** 8, 60000))
        for call in (lambda: mrd.retrieval(huge, huge), lambda: mrd.geometry(huge, huge)):
            with self.assertRaises(MemoryError):
                call()
        longer = np.broadcast_to(np.float32(1), (10 ** 9, 1))
        with self.assertRaisesRegex(ValueError, "at most 100000000"):
            mrd.retrieval(longer, longer)
        with self.assertRaisesRegex(ValueError, "at most 65536"):
            mrd.geometry(longer.T, longer.T)
        with self.assertRaisesRegex(ValueError, "at most 32768"):
            mrd.loss("clip", longer, longer)


class Arguments(unittest.TestCase):
    def test_model(self):
        for given, error in ((("/nowhere",), mrd.MeridianError), (("",), ValueError), (("a\0b",), ValueError),
                             ((None,), TypeError), ((7,), TypeError), (("emoji", "quantum"), mrd.UnsupportedError),
                             (("emoji", 7), TypeError), (("emoji", None, -1), ValueError), (("emoji", None, 2 ** 40), ValueError),
                             (("emoji", None, 1.5), TypeError), (("emoji", None, True), TypeError),
                             (("emoji", None, 0, "f16"), ValueError), (("emoji", None, 0, "f32", 0), ValueError),
                             (("emoji", None, 0, "f32", "64"), TypeError)):
            with self.assertRaises(error, msg=str(given)):
                mrd.Model(*given)

    def test_texts(self):
        m = mrd.Model(support.shipped(self))
        self.assertEqual(m.encode_texts([]).shape, (0, m.width))
        self.assertEqual(m.encode_texts(("a", np.str_("b"))).shape, (2, m.width))
        for bad, error in (("a cat", TypeError), ([b"a"], TypeError), ([None], TypeError), ([["a"]], TypeError), (None, TypeError),
                           (["a\0b"], ValueError), (["\ud800"], ValueError), ({"a": 1}, TypeError), (["x" * 2_000_000], ValueError)):
            for method in (m.encode_texts, m.tokenize):
                with self.assertRaises(error, msg=str(bad)[:50]):
                    method(bad)
        self.assertEqual(m.encode_texts(["", "\U0001f600 \x01 \u202e"]).shape, (2, m.width))

    def test_images(self):
        m = mrd.Model(os.path.join(support.GOLDEN, "clip_vit_tiny"))
        self.assertEqual(m.encode_images([]).shape, (0, 24))
        self.assertEqual(m.encode_images(np.empty((0, 3, 32, 32))).shape, (0, 24))
        for bad, error in (("a.png", TypeError), ([7], TypeError), ([""], ValueError), (["a\0"], ValueError), (None, TypeError),
                           (np.zeros((1, 3, 32, 32), int), TypeError), (np.zeros((3, 32, 32)), ValueError),
                           (np.zeros((1, 1, 32, 32)), ValueError), (np.full((1, 3, 32, 32), np.nan), ValueError),
                           ([[0.0]], TypeError), (np.ma.masked_array(np.zeros((1, 3, 32, 32))), TypeError)):
            with self.assertRaises(error, msg=str(bad)[:50]):
                m.encode_images(bad)

    def test_measures(self):
        x = support.units(4, 5)
        for options, error in (({"bootstrap": -1}, ValueError), ({"bootstrap": 1.5}, TypeError), ({"bootstrap": 10 ** 9}, ValueError),
                               ({"seed": -1}, ValueError), ({"seed": "1"}, TypeError), ({"temperature": 0}, ValueError),
                               ({"temperature": "1"}, TypeError), ({"temperature": float("nan")}, ValueError),
                               ({"bins": 65}, ValueError), ({"bins_mass": 0}, ValueError)):
            with self.assertRaises(error, msg=str(options)):
                mrd.retrieval(x, x, **options)
        for row, error in ((np.zeros(5), mrd.NonFiniteError), (np.full(5, np.nan), mrd.NonFiniteError), (np.full(5, 1e300), ValueError)):
            y = x.copy()
            y[2] = row
            for measure in (mrd.retrieval, mrd.geometry):
                with self.assertRaises(error):
                    measure(x, y)


class Package(unittest.TestCase):
    def python(self, code, **environment):
        there = dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(mrd.__file__)), PYTHONDONTWRITEBYTECODE="1", **environment)
        return subprocess.run([sys.executable, *code], capture_output=True, text=True, env=there, cwd=support.scratch(self), check=False)

    def test_main(self):
        done = self.python(["-m", "meridian"])
        self.assertEqual((done.returncode, done.stdout.split()[:3]), (0, ["meridian", mrd.__version__, "library"]), done.stderr)
        self.assertIn(mrd.library_path(), done.stdout)
        self.assertEqual(self.python(["-m", "meridian", "x"]).returncode, 2)

    def test_wrong_libraries(self):
        folder = support.scratch(self)
        text = os.path.join(folder, "libmeridian.so.0")
        with open(text, "w", encoding="utf-8") as f:
            f.write("no library")
        for library, says in (("/nowhere/libmeridian.so", "cannot be loaded"), (text, "cannot be loaded"),
                              ("libm.so.6", "no function mrd_version")):
            done = self.python(["-c", "import meridian"], MERIDIAN_LIB=library)
            self.assertEqual(done.returncode, 1)
            self.assertIn("ImportError", done.stderr)
            self.assertIn(says, done.stderr)

    def test_versions(self):
        """A library of another version is refused by a sentence that names both."""
        code = ("import ctypes, meridian._library as l; l.VERSION = '9.1.0'\n"
                "try: l._check(l.lib, 'F')\nexcept ImportError as e: print(e)")
        self.assertIn("F is version 0.", self.python(["-c", code]).stdout)

    def test_nothing_else_is_imported(self):
        code = "import sys, meridian; print([m for m in ('torch', 'PIL', 'scipy', 'transformers') if m in sys.modules])"
        self.assertEqual(self.python(["-c", code]).stdout.strip(), "[]")

    def test_version_is_the_library_s(self):
        with open(os.path.join(os.path.dirname(mrd.__file__), "..", "pyproject.toml"), encoding="utf-8") as f:
            self.assertIn(f'version = "{mrd.__version__}"', f.read())

    def test_structs_are_the_header_s(self):
        """The ctypes structs name the fields of meridian.h, in its order."""
        import re
        from meridian import _library
        with open(os.path.join(os.path.dirname(mrd.__file__), "..", "..", "include", "meridian.h"), encoding="utf-8") as f:
            header = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
        for name, struct in (("model_opt", _library.ModelOpt), ("caption_opt", _library.CaptionOpt), ("pairs", _library.Pairs),
                             ("measure_opt", _library.MeasureOpt), ("loss_opt", _library.LossOpt)):
            body = re.search(r"struct mrd_%s \{(.*?)\};" % name, header, re.S).group(1)
            fields = [re.search(r"(\w+)$", part.strip()).group(1) for line in body.split(";") if line.strip()
                      for part in line.split(",")]
            self.assertEqual(fields, [f[0] for f in struct._fields_])
        for name in re.findall(r"MRD_API [^;]*?\b(mrd_\w+)\(", header):
            self.assertIn(name, set(_library._FUNCTIONS) | {"mrd_model_encode_tokens"})


if __name__ == "__main__":
    unittest.main()
