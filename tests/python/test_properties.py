"""Every entry, whatever the array: an answer that depends on the values alone, or an error of the right kind; never a
crash, never a changed argument.

MERIDIAN_EXAMPLES: examples an entry (200; 10,000 by meson test -C build --benchmark). They are the same at every run unless
MERIDIAN_RANDOM is set."""

import os
import unittest
import warnings

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meridian as mrd
import support

settings.register_profile("meridian", max_examples=int(os.environ.get("MERIDIAN_EXAMPLES", "200")), deadline=None,
                          database=None, derandomize=os.environ.get("MERIDIAN_RANDOM", "") == "", print_blob=True,
                          suppress_health_check=list(HealthCheck))
settings.load_profile("meridian")

FLOATS = ["<f4", "<f8", "<f2", ">f4", ">f8", ">f2"]
OTHERS = ["i4", "u1", "i8", "?", "c8", "c16", "O", "U3", "S2", "M8[s]", "m8[s]", "V4", "g", "f4,f4"]
LAYOUTS = ["c", "f", "step", "back", "inside", "turned", "unaligned", "fixed", "file", "spread"]
FILLS = ["unit", "any", "any", "unit", "zeros", "same", "nan", "inf", "huge", "tiny"]

_folder = None


def folder() -> str:
    global _folder
    if _folder is None:
        import tempfile
        _folder = tempfile.mkdtemp()
    return _folder


def numbers(shape, fill, seed):
    r = np.random.default_rng(seed)
    x = r.normal(size=shape)
    if fill == "unit" and x.ndim and x.size:
        x = x / np.sqrt((x * x).sum(-1, keepdims=True))
    elif fill == "zeros":
        x = x * 0
    elif fill == "same":
        x = np.full(shape, 0.5)
    elif fill in ("nan", "inf") and x.size:
        x.reshape(-1)[r.integers(x.size)] = np.nan if fill == "nan" else -np.inf
    elif fill == "huge":
        x = x * 1e300
    elif fill == "tiny":
        x = x * 1e-310
    return x


def lay(x, layout, seed):
    """The same values, lying in memory in another way."""
    x = np.array(x)
    if layout == "f":
        return np.asfortranarray(x)
    if layout == "step" and x.ndim:
        wide = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
        part = wide[tuple(slice(None, None, 2) for _ in x.shape)]
        part[...] = x
        return part
    if layout == "back":
        return np.ascontiguousarray(np.flip(x))[tuple(slice(None, None, -1) for _ in x.shape)] if x.ndim else x
    if layout == "inside":
        wide = np.zeros(tuple(n + 3 for n in x.shape), x.dtype)
        if not x.ndim:
            return x
        part = wide[tuple(slice(1, n + 1) for n in x.shape)]
        part[...] = x
        return part
    if layout == "turned":
        return np.ascontiguousarray(x.T).T
    if layout == "unaligned" and x.dtype.kind != "O":
        raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape) if x.size else x
        raw[...] = x
        return raw
    if layout == "fixed":
        x = x.copy()
        x.flags.writeable = False
        return x
    if layout == "file" and x.size and x.dtype.kind != "O":
        path = os.path.join(folder(), "array")
        x.tofile(path)
        return np.memmap(path, x.dtype, "r", shape=x.shape)
    if layout == "spread" and x.ndim and x.shape[0] > 1:
        return np.broadcast_to(x[:1], x.shape)
    return x


@st.composite
def arrays(draw, shapes, good=0.8):
    """(array, what it should be called: None fine, else the kind of error), about `good` of them fine."""
    fine = draw(st.floats(0, 1)) < good
    dtype = draw(st.sampled_from(FLOATS if fine or draw(st.booleans()) else OTHERS))
    shape = draw(shapes) if fine or draw(st.booleans()) else tuple(draw(st.lists(st.integers(0, 5), max_size=5)))
    seed = draw(st.integers(0, 2 ** 32 - 1))
    fill, layout = draw(st.sampled_from(FILLS)), draw(st.sampled_from(LAYOUTS))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        x = numbers(shape, fill, seed)
        if dtype in ("O", "U3", "S2", "V4", "f4,f4", "M8[s]", "m8[s]"):
            a = np.zeros(shape, dtype)
        else:
            a = x.astype(dtype)
    return lay(a, layout, seed)


def describe(*things):
    support.note("\n".join(f"{t.dtype} {t.shape} strides {t.strides} {t.flags.c_contiguous}" if isinstance(t, np.ndarray)
                           else repr(t)[:300] for t in things))


def is_float(a):
    return a.dtype.kind == "f" and a.dtype.itemsize in (2, 4, 8)


def plain(a, dtype):
    with np.errstate(all="ignore"):
        return np.array(a.tolist(), dtype).reshape(a.shape)


def snapshot(a):
    return a.tobytes() if a.dtype.kind != "O" else None


def directions(a):
    """Whether every row has one, in the type that is computed with."""
    with np.errstate(all="ignore"):
        x = plain(a, np.float32).astype(np.float64)
        norm = np.sqrt((x * x).sum(1))
    return bool(np.isfinite(norm).all() and (norm > 0).all())


def outcome(call):
    try:
        return call(), None
    except (TypeError, ValueError, MemoryError) as e:
        return None, e


two = st.tuples(st.integers(0, 6), st.integers(1, 5))


class Properties(unittest.TestCase):
    def check_kinds(self, error, *given_arrays):
        """The first array of a wrong kind is a TypeError; of wrong numbers of dimensions a ValueError."""
        for a in given_arrays:
            if not is_float(a):
                self.assertIsInstance(error, TypeError)
                if not isinstance(a, np.ma.MaskedArray):
                    self.assertIn(str(a.dtype), str(error))
                return True
            if a.ndim != 2:
                self.assertIsInstance(error, ValueError)
                self.assertIn(str(a.shape), str(error))
                return True
        return False

    def measure(self, function, x, y):
        before = snapshot(x), snapshot(y)
        describe(function.__name__, x, y)
        got, error = outcome(lambda: function(x, y, bootstrap=7))
        self.assertEqual((snapshot(x), snapshot(y)), before)
        if not is_float(x) or x.ndim != 2 or not is_float(y) or y.ndim != 2:
            self.check_kinds(error, x, y)
        elif x.shape != y.shape or x.shape[1] == 0:
            self.assertIsInstance(error, ValueError)
        elif not (directions(x) and directions(y)):
            self.assertIsInstance(error, mrd.NonFiniteError)
        else:
            self.assertIsNone(error)
            self.assertEqual(function(plain(x, np.float32), plain(y, np.float32), bootstrap=7), got)

    @given(x=arrays(two), y=arrays(two), same=st.booleans())
    def test_retrieval(self, x, y, same):
        self.measure(mrd.retrieval, x, x if same else y)

    @given(x=arrays(two), y=arrays(two), same=st.booleans())
    def test_geometry(self, x, y, same):
        self.measure(mrd.geometry, x, x if same else y)

    @given(x=arrays(st.just((4, 3)), 0.97), pairs=arrays(st.just((3, 2)), 0.2), kind=st.sampled_from(["i1", "u8", ">i4", "i8", "own"]))
    def test_pairs(self, x, pairs, kind):
        if kind != "own":
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pairs = lay(np.nan_to_num(numbers(pairs.shape, "any", 1) * 3).astype(kind), "step", 0)
        describe("pairs", x, pairs)
        got, error = outcome(lambda: mrd.retrieval(x, x, pairs, bootstrap=0))
        if error is None:
            self.assertEqual(pairs.dtype.kind in "iu" or pairs.size == 0, True)
            self.assertEqual(mrd.retrieval(x, x, pairs.tolist() if pairs.size else [], bootstrap=0), got)
        elif is_float(x) and x.shape == (4, 3) and pairs.size and pairs.dtype.kind not in "iu":
            self.assertIsInstance(error, TypeError)

    @given(x=arrays(two), y=arrays(two), same=st.booleans(), name=st.sampled_from(sorted(mrd.losses())), normalize=st.booleans())
    def test_loss(self, x, y, same, name, normalize):
        y = x if same else y
        before = snapshot(x), snapshot(y)
        describe("loss", name, x, y)
        got, error = outcome(lambda: mrd.loss(name, x, y, normalize=normalize))
        self.assertEqual((snapshot(x), snapshot(y)), before)
        if not is_float(x) or x.ndim != 2 or not is_float(y) or y.ndim != 2:
            self.check_kinds(error, x, y)
        elif x.shape != y.shape or x.size == 0:
            self.assertIsInstance(error, ValueError)
        else:
            wide = np.float64 if 8 in (x.dtype.itemsize, y.dtype.itemsize) else np.float32
            again, error_again = outcome(lambda: mrd.loss(name, plain(x, wide), plain(y, wide), normalize=normalize))
            self.assertEqual(type(error), type(error_again))
            if error is not None:
                self.assertIsInstance(error, mrd.NonFiniteError)
                return
            self.assertTrue(np.isfinite(got[0]))
            self.assertEqual((got[1].dtype, got[1].shape, got[2].shape), (wide, x.shape, y.shape))
            self.assertEqual(got[0], again[0])
            np.testing.assert_array_equal(got[1], again[1])
            np.testing.assert_array_equal(got[2], again[2])

    @given(x=arrays(st.just((4, 3)), 1), match=arrays(st.just((4, 4)), 0.2), kind=st.sampled_from(["?", "u1", "i8", "own"]))
    def test_match_matrix(self, x, match, kind):
        if kind != "own":
            match = lay((numbers(match.shape, "any", 1) > 0.2).astype(kind), "back", 0)
        describe("match", x, match)
        _, error = outcome(lambda: mrd.loss("clip", x, x, match=match, normalize=True))
        if x.shape != (4, 3) or not is_float(x):
            self.assertIsNotNone(error)
        elif match.dtype.kind not in "biu":
            self.assertIsInstance(error, TypeError)
        elif match.shape != (4, 4):
            self.assertIsInstance(error, ValueError)
        elif error is not None:
            self.assertIsInstance(error, ValueError)

    @given(value=st.one_of(st.floats(), st.integers(), st.text(max_size=20), st.booleans(), st.none(), st.binary(max_size=5),
                           st.lists(st.integers(), max_size=3)), name=st.one_of(st.just("tau"), st.text(max_size=10)))
    def test_loss_options(self, value, name):
        x = support.units(3, 4)
        describe("options", name, value)
        got, error = outcome(lambda: mrd.loss("clip", x, x, **{name: value}))
        if error is None:
            self.assertTrue(np.isfinite(got[0]))

    clip = None

    @given(x=arrays(st.tuples(st.integers(0, 3), st.just(3), st.just(32), st.just(32)), 0.85))
    def test_pixels(self, x):
        if Properties.clip is None:
            Properties.clip = mrd.Model(os.path.join(support.GOLDEN, "clip_vit_tiny"), threads=1)
        before = snapshot(x)
        describe("pixels", x)
        got, error = outcome(lambda: self.clip.encode_images(x))
        self.assertEqual(snapshot(x), before)
        if not is_float(x):
            self.assertIsInstance(error, TypeError)
        elif x.ndim != 4 or x.shape[1:] != (3, 32, 32):
            self.assertIsInstance(error, ValueError)
            self.assertIn(str(x.shape), str(error))
        else:
            same, error_again = outcome(lambda: self.clip.encode_images(plain(x, np.float32)))
            self.assertEqual(type(error), type(error_again))
            if error is not None:
                self.assertIsInstance(error, mrd.NonFiniteError)
                return
            self.assertTrue(np.isfinite(got).all())
            np.testing.assert_array_equal(got, same)

    anything = st.one_of(st.text(max_size=60), st.text(st.characters(), max_size=5), st.none(), st.integers(), st.binary(max_size=9),
                         st.floats(), st.lists(st.text(max_size=3), max_size=2))
    blip = None

    @given(texts=st.one_of(st.lists(anything, max_size=4), st.lists(st.text(max_size=40), max_size=4), anything))
    def test_texts(self, texts):
        if Properties.blip is None:
            import tempfile
            Properties.blip = mrd.Model(support.speaking_model(tempfile.mkdtemp(), "blip_itm_tiny"), threads=1)
        describe("texts", texts)
        m = self.blip
        got, error = outcome(lambda: m.encode_texts(texts))
        ids, error_ids = outcome(lambda: m.tokenize(texts))
        self.assertEqual(type(error), type(error_ids))
        if error is None:
            self.assertEqual((got.shape, ids.shape), ((len(texts), m.width), (len(texts), m.context)))
            self.assertTrue(np.isfinite(got).all())
            self.assertTrue(((ids >= 0) & (ids < m.vocab)).all())
            logits = m.match(np.zeros((len(texts), 3, 32, 32)), texts)
            self.assertEqual(logits.shape, (len(texts),))
        elif isinstance(texts, list) and all(isinstance(t, str) for t in texts):
            self.assertIsInstance(error, ValueError)
        else:
            self.assertIsInstance(error, (TypeError, ValueError))

    speaker = None

    @given(x=arrays(st.tuples(st.integers(0, 2), st.just(3), st.just(32), st.just(32)), 0.9), beam=st.integers(-1, 70),
           shortest=st.integers(-1, 40), longest=st.integers(-1, 40), penalty=st.floats(), repetition=st.floats(),
           prompt=st.one_of(st.none(), st.text(max_size=12), st.just("w7 w8"), st.integers()))
    def test_caption(self, x, beam, shortest, longest, penalty, repetition, prompt):
        if Properties.speaker is None:
            import tempfile
            Properties.speaker = mrd.Model(support.speaking_model(tempfile.mkdtemp(), "blip_caption_tiny"), threads=1)
        describe("caption", x, beam, shortest, longest, penalty, repetition, prompt)
        got, error = outcome(lambda: self.speaker.caption(x, beam=min(beam, 3) if beam < 60 else beam, min_length=shortest,
                                                          max_length=longest, length_penalty=penalty,
                                                          repetition_penalty=repetition, prompt=prompt))
        if error is None:
            self.assertEqual([type(text) for text in got], [str] * x.shape[0])

    @given(paths=st.one_of(st.lists(anything, min_size=1, max_size=3), anything))
    def test_paths(self, paths):
        if Properties.clip is None:
            Properties.clip = mrd.Model(os.path.join(support.GOLDEN, "clip_vit_tiny"), threads=1)
        describe("paths", paths)
        for method in (self.clip.encode_images, self.clip.preprocess):
            _, error = outcome(lambda: method(paths))
            if not (isinstance(paths, list) and not paths):
                self.assertIsInstance(error, (TypeError, ValueError))

    @given(path=anything, engine=anything, threads=anything, dtype=anything, size=anything)
    def test_model_arguments(self, path, engine, threads, dtype, size):
        describe("model", path, engine, threads, dtype, size)
        clip = os.path.join(support.GOLDEN, "clip_vit_tiny")
        for arguments in ((path,), (clip, engine), (clip, None, threads), (clip, None, 1, dtype), (clip, None, 1, "f32", size)):
            try:
                mrd.Model(*arguments)
            except (mrd.MeridianError, TypeError, ValueError, MemoryError):
                pass


if __name__ == "__main__":
    unittest.main()
