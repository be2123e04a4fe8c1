"""Adapters, scores of doubt, p(match), likely faults: against the program on the same arrays, and what is refused."""

import csv
import glob
import json
import os
import subprocess
import tempfile
import unittest

import numpy as np

import meridian as mrd
import support

N, M, D = 40, 50, 8
FIT = {"epochs": 3, "hidden": 8, "batch": 16, "seed": 3}


def planted():
    """Vectors, and pairs that are not one to one."""
    x = support.units(N, D, 1, np.float32)
    y = (x[np.arange(M) % N] + 0.5 * support.units(M, D, 2)).astype(np.float32)
    return x, y, np.stack([np.arange(M) % N, np.arange(M)], 1)


class AsTheProgram(unittest.TestCase):
    def setUp(self):
        if not support.PROGRAM:
            self.skipTest("no program to compare with")
        self.folder = support.scratch(self)
        self.x, self.y, self.pairs = planted()
        np.save(self.at("x.npy"), self.x)
        np.save(self.at("y.npy"), self.y)
        np.savetxt(self.at("p.csv"), self.pairs, "%d", ",", header="image_row,text_row", comments="")
        self.set = ["--images", self.at("x.npy"), "--texts", self.at("y.npy"), "--pairs", self.at("p.csv")]

    def at(self, name):
        return os.path.join(self.folder, name)

    def run_program(self, *words):
        environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        done = subprocess.run([support.PROGRAM, *words], capture_output=True, text=True, check=False, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def compare(self, mine, theirs):
        """Dicts, numbers to the digits that are printed."""
        if isinstance(mine, dict):
            self.assertEqual(set(mine), set(theirs))
            for key in mine:
                self.compare(mine[key], theirs[key])
        elif isinstance(mine, list):
            self.assertEqual(len(mine), len(theirs))
            for a, b in zip(mine, theirs):
                self.compare(a, b)
        elif isinstance(mine, float) and theirs is not None:
            self.assertAlmostEqual(mine, theirs, delta=1e-13 + 1e-13 * abs(mine))
        else:
            self.assertEqual(mine, theirs)

    def without_source(self, answer):
        return {k: v for k, v in answer.items() if k not in ("set", "model", "data", "protocol", "fingerprint", "note")}

    def adapted(self, *more):
        words = [w for k, v in FIT.items() for w in (f"--{k}", str(v))]
        self.run_program("adapt", *self.set, *words, *more, "--threads", "1", "--out", self.at("adapter"), "-q", "--json")
        return mrd.Adapter.load(self.at("adapter"), threads=1)

    def test_adapter(self):
        for method in ("probvlm", "pfe"):
            theirs = self.adapted("--method", method, "--force")
            mine = mrd.Adapter.fit(self.x, self.y, method, self.pairs, threads=1, **FIT)
            self.assertEqual((mine.method, mine.width, theirs.result), (method, D, None))
            self.run_program("predict", self.at("adapter"), *self.set, "--out", self.at("u.csv"), "--arrays",
                             self.at("arrays"), "--seed", "7", "--threads", "1", "-q", "--force")
            with open(self.at("u.csv"), encoding="utf-8") as f:
                table = list(csv.DictReader(f))
            for side, v in (("image", self.x), ("text", self.y)):
                rows = [row for row in table if row["side"] == side]
                for a in (mine, theirs):
                    p = a.predict(v, side, seed=7)
                    for name in ("uncertainty", "aleatoric", "epistemic", "log_variance", "fidelity"):
                        want = np.array([float(row[name]) for row in rows])
                        np.testing.assert_allclose(p[name], want, rtol=1e-8, atol=1e-12)
                    for name in ("mean", "scale", "shape"):
                        np.testing.assert_array_equal(p[name], np.load(self.at(f"arrays/{side}_{name}.npy")))

    def test_result(self):
        words = [w for k, v in FIT.items() for w in (f"--{k}", str(v))]
        theirs = json.loads(self.run_program("adapt", *self.set, *words, "--threads", "1", "--out", self.at("a"), "-q",
                                             "--json"))
        mine = mrd.Adapter.fit(self.x, self.y, pairs=self.pairs, threads=1, **FIT).result
        for given in (mine, theirs):
            given.pop("seconds")
        theirs.pop("out")
        self.compare(mine, theirs)

    def test_draws_and_likelihoods(self):
        a = self.adapted()
        self.run_program("sample", self.at("adapter"), *self.set, "--row", "5", "--side", "text", "-n", "4", "--region",
                         "near", "--seed", "2", "--threads", "1", "--out", self.at("s.npy"))
        np.testing.assert_array_equal(a.sample(self.y, "text", 5, 4, region="near", seed=2), np.load(self.at("s.npy")))
        self.run_program("likelihood", self.at("adapter"), *self.set, "--row", "3", "--threads", "1", "--out",
                         self.at("l.csv"))
        with open(self.at("l.csv"), encoding="utf-8") as f:
            want = [float(row["log_likelihood"]) for row in csv.DictReader(f) if row.get("side", "text") == "text"]
        got = a.likelihood(self.x, self.y, "image", 3)
        np.testing.assert_allclose(got, want, rtol=1e-8)
        self.assertEqual(got.shape, (M,))
        self.assertEqual(a.likelihood(self.x, self.y, "text", 3).shape, (N,))

    def test_uncertainty(self):
        a = self.adapted()
        theirs = json.loads(self.run_program("eval", "uncertainty", *self.set, "--adapter", self.at("adapter"), "--seed",
                                             "4", "--bootstrap", "30", "--bins", "4", "--json"))
        mine = mrd.uncertainty(self.x, self.y, self.pairs, adapter=mrd.Adapter.load(self.at("adapter")), seed=4,
                               bootstrap=30, levels=4)
        self.compare(mine, self.without_source(theirs))
        self.assertIn("adapter", mine["image_to_text"]["scores"])
        one = mrd.uncertainty(self.x, self.y, self.pairs, scores=["cosine", "margin"], bootstrap=0)
        self.assertEqual(set(one["text_to_image"]["scores"]), {"cosine", "margin"})
        a.close()

    def test_uncertainty_of_a_split(self):
        split = [("test", "val", "train")[i % 3] for i in range(N)]
        kind = [i % 4 for i in range(N)]
        with open(self.at("rows.csv"), "w", encoding="utf-8") as f:
            f.write("split,kind\n" + "".join(f"{a},{b}\n" for a, b in zip(split, kind)))
        theirs = json.loads(self.run_program("eval", "uncertainty", *self.set, "--rows", self.at("rows.csv"),
                                             "--split-column", "split", "--hit-column", "kind", "--bootstrap", "0", "--json"))
        mine = mrd.uncertainty(self.x, self.y, self.pairs, split=split, labels=kind, bootstrap=0)
        for name in ("image_to_text", "text_to_image"):
            self.compare(mine[name], theirs[name])

    def test_calibrate(self):
        path = self.at("mine.json")
        mine = mrd.calibrate(self.x, self.y, self.pairs, hits=5, bootstrap=20, seed=2, path=path)
        theirs = json.loads(self.run_program("calibrate", *self.set, "--hits", "5", "--bootstrap", "20", "--seed", "2",
                                             "--out", self.at("theirs.json"), "--json"))
        self.compare(mine, theirs)
        with open(path, encoding="utf-8") as a, open(self.at("theirs.json"), encoding="utf-8") as b:
            self.assertEqual(a.read(), b.read())
        with self.assertRaises(mrd.ExistsError):
            mrd.calibrate(self.x, self.y, self.pairs, path=path, bootstrap=0)
        split = ["val" if i % 2 else "test" for i in range(N)]
        self.assertNotEqual(mrd.calibrate(self.x, self.y, self.pairs, bootstrap=0, split=split), mine)

    def test_review(self):
        for what in (None, "duplicates", ["mismatches", "ambiguous"]):
            named = [] if what is None else ["--what", what if isinstance(what, str) else ",".join(what)]
            theirs = json.loads(self.run_program("review", *self.set, "-n", "3", *named, "--json"))["items"]
            mine = mrd.review(self.x, self.y, self.pairs, what=what, n=3)
            self.compare(mine, [{k: v for k, v in item.items() if not k.endswith("name")} for item in theirs])


class Adapters(unittest.TestCase):
    def setUp(self):
        self.x, self.y, self.pairs = planted()

    def fit(self, **options):
        return mrd.Adapter.fit(self.x, self.y, pairs=self.pairs, threads=1, **{**FIT, **options})

    def test_save_and_load(self):
        folder = support.scratch(self)
        path = os.path.join(folder, "adapter")
        with self.fit() as a:
            want = a.predict(self.x, "image")
            a.save(path)
            with self.assertRaises(mrd.ExistsError):
                a.save(path)
            a.save(path, force=True)
        self.assertEqual(sorted(os.listdir(path)), ["adapter.json", "adapter.safetensors", "run.jsonl"])
        with self.assertRaisesRegex(ValueError, "closed"):
            a.predict(self.x, "image")
        b = mrd.Adapter.load(path, threads=1)
        again = os.path.join(folder, "again")
        os.rename(path, os.path.join(folder, "elsewhere"))
        b.save(again)
        for c in (b, mrd.Adapter.load(again, threads=1)):
            got = c.predict(self.x, "image")
            for name, v in want.items():
                np.testing.assert_array_equal(got[name], v)
        self.assertIn("probvlm", repr(b))

    def test_nothing_is_left_behind(self):
        before = set(glob.glob(os.path.join(tempfile.gettempdir(), "meridian-adapter-*")))
        a = self.fit()
        with self.assertRaises(mrd.UsageError):
            self.fit(mean="none")
        self.assertEqual(set(glob.glob(os.path.join(tempfile.gettempdir(), "meridian-adapter-*"))) - before, set())
        a.close()

    def test_types(self):
        a = self.fit()
        p = a.predict(self.x.astype(np.float64), "image", arrays=False)
        self.assertEqual(set(p), {"uncertainty", "aleatoric", "epistemic", "log_variance", "fidelity"})
        q = a.predict(np.asfortranarray(self.x), "image")
        np.testing.assert_array_equal(p["uncertainty"], q["uncertainty"])
        self.assertEqual((q["mean"].dtype, q["mean"].shape, q["uncertainty"].dtype), (np.float32, (N, D), np.float64))
        self.assertEqual(a.predict(self.x[:0], "text")["mean"].shape, (0, D))
        s = a.sample(self.x, "image", 0, 5, region="tail")
        np.testing.assert_allclose((s.astype(float) ** 2).sum(1), 1, atol=1e-5)
        self.assertEqual(set(mrd.Adapter.options()) & {"method", "epochs", "clip_norm"}, {"method", "epochs", "clip_norm"})

    def test_refused(self):
        a = self.fit()
        bad = self.x.copy()
        bad[3, 2] = np.nan
        for call, error, says in (
                (lambda: self.fit(epoch=3), mrd.UsageError, "epochs"),
                (lambda: self.fit(lr=-1.0), ValueError, "lr"),
                (lambda: self.fit(method="magic"), mrd.UsageError, "probvlm"),
                (lambda: self.fit(seed=None), TypeError, "NoneType"),
                (lambda: mrd.Adapter.fit(self.x, self.y), ValueError, "same number"),
                (lambda: mrd.Adapter.fit(self.x, self.y[:, :3]), ValueError, "expected"),
                (lambda: mrd.Adapter.fit(bad, bad, epochs=1), mrd.NonFiniteError, "row 3"),
                (lambda: mrd.Adapter(), TypeError, "Adapter.fit"),
                (lambda: mrd.Adapter.load("/nowhere"), mrd.MeridianError, "/nowhere"),
                (lambda: a.predict(self.x[:, :3], "image"), ValueError, r"expected \[n, 8\]"),
                (lambda: a.predict(self.x, "picture"), ValueError, '"text"'),
                (lambda: a.predict(self.x, 0), TypeError, "int"),
                (lambda: a.predict(self.x, "image", dropout=2), ValueError, "dropout"),
                (lambda: a.predict(self.x, "image", dropout=float("nan")), ValueError, "dropout"),
                (lambda: a.sample(self.x, "image", N), ValueError, "0 to 39"),
                (lambda: a.sample(self.x, "image", 0, region="far"), ValueError, "tail"),
                (lambda: a.likelihood(self.x, self.y, "text", M), ValueError, "0 to 49"),
                (lambda: mrd.uncertainty(self.x, self.y, self.pairs, scores="cosin"), mrd.UsageError, "cosine"),
                (lambda: mrd.uncertainty(self.x, self.y, self.pairs, split=["test"]), ValueError, "40 images"),
                (lambda: mrd.uncertainty(self.x, self.y, self.pairs, adapter="a"), TypeError, "Adapter"),
                (lambda: mrd.calibrate(self.x, self.y, self.pairs, method="best"), mrd.UsageError, "isotonic"),
                (lambda: mrd.calibrate(self.x, self.y, self.pairs, l2=-1), mrd.UsageError, "l2"),
                (lambda: mrd.calibrate(self.x, self.y, self.pairs, features=["size"]), mrd.UsageError, "size"),
                (lambda: mrd.review(self.x, self.y, self.pairs, what="typos"), mrd.UsageError, "typos"),
                (lambda: mrd.review(self.x, self.y, self.pairs, n=0), ValueError, "n: 0")):
            with self.assertRaisesRegex(error, says):
                call()


if __name__ == "__main__":
    unittest.main()
