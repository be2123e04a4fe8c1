"""An adapter: a distribution in the place of each vector, and what one does with it."""

import ctypes
import json
from typing import Any, Dict, Optional

import numpy as np

from . import _arrays
from ._calls import call, call_for_text, take_text
from ._handles import Owner, free_waiting
from ._library import AdapterOpt, Predicted, PredictOpt, lib
from ._measures import borrow
from ._words import words

_SIDES = {"image": 0, "text": 1}
_REGIONS = ("near", "all", "tail")


def _side(x: Any) -> int:
    if not isinstance(x, str):
        raise TypeError(f"side: {type(x).__name__}, expected \"image\" or \"text\"")
    if x not in _SIDES:
        raise ValueError(f"side: {x!r}, expected \"image\" or \"text\"")
    return _SIDES[x]


def _opt(engine: Optional[str], threads: int) -> AdapterOpt:
    return AdapterOpt(size=ctypes.sizeof(AdapterOpt), threads=_arrays.whole(threads, "threads", 0, 1024),
                      engine=None if engine is None else _arrays.text(engine, "engine"))


class Adapter(Owner):
    """Made by Adapter.fit or Adapter.load.

    Safe to share between threads; one call computes at a time. close(), or `with`, gives the memory back; so does
    forgetting the adapter.
    """

    def __init__(self) -> None:
        raise TypeError("an Adapter is made by Adapter.fit(images, texts) or Adapter.load(path)")

    @classmethod
    def _of(cls, address: int, result: Optional[Dict[str, Any]]) -> "Adapter":
        a = cls.__new__(cls)
        a._own(address, lib.mrd_adapter_free, "adapter")
        a._result = result
        with a._handle as h:
            a._method, a._width = lib.mrd_adapter_method(h).decode("utf-8", "replace"), lib.mrd_adapter_width(h)
        return a

    @classmethod
    def fit(cls, images: Any, texts: Any, method: str = "probvlm", pairs: Any = None, *, engine: Optional[str] = None,
            threads: int = 0, **options: Any) -> "Adapter":
        """Learns from pairs of vectors, as `meridian adapt`.

        images [n, d], texts [m, d]; pairs [p, 2]: image row, text row, many to many; None: row i with row i. options:
        epochs=, hidden=, seed= and all that Adapter.options() lists. engine: "cpu", "ref" or "ref64".

        Raises TypeError, ValueError (shapes), NonFiniteError, UsageError (unknown method, option or value).
        """
        b = borrow(images, texts, pairs)
        v = words({"method": method, **options})
        opt = _opt(engine, threads)
        opt.options, opt.n_options = _arrays.strings(v), len(v)
        free_waiting()
        out, text = ctypes.c_void_p(), ctypes.c_void_p()
        call(lib.mrd_adapter_fit, ctypes.byref(out), b, opt, ctypes.byref(text))
        return cls._of(out.value, json.loads(take_text(text.value)))

    @classmethod
    def load(cls, path: Any, *, engine: Optional[str] = None, threads: int = 0) -> "Adapter":
        """An adapter's folder, of save or of `meridian adapt`."""
        free_waiting()
        out = ctypes.c_void_p()
        call(lib.mrd_adapter_open, ctypes.byref(out), _arrays.path(path, "path"), _opt(engine, threads))
        return cls._of(out.value, None)

    @staticmethod
    def options() -> Dict[str, Any]:
        """The options of fit: name -> {"type", "default", "min", "max", "choices", "help"}."""
        return json.loads(call_for_text(lib.mrd_adapter_options))

    @property
    def method(self) -> str:
        """ "probvlm", ..."""
        return self._method

    @property
    def width(self) -> int:
        """d, the length of the vectors that it takes."""
        return self._width

    @property
    def result(self) -> Optional[Dict[str, Any]]:
        """Of a fit: final_loss, validation, steps, seconds, pairs ..., as `meridian adapt --json`; of a load: None."""
        return self._result

    def save(self, path: Any, *, force: bool = False) -> None:
        """Writes its folder, whole or not at all. One that exists is replaced with force, else an ExistsError."""
        with self._handle as h:
            call(lib.mrd_adapter_save, h, _arrays.path(path, "path"), int(bool(force)))

    def __enter__(self) -> "Adapter":
        return self

    def __repr__(self) -> str:
        return f"<meridian.Adapter {self._method}, width {self._width}>"

    def _rows(self, x: Any) -> np.ndarray:
        return _arrays.floats(x, "vectors", "n d", sizes=(None, self._width))

    def predict(self, vectors: Any, side: str, *, passes: int = 0, dropout: Optional[float] = None, seed: int = 0,
                arrays: bool = True) -> Dict[str, np.ndarray]:
        """What the adapter says of vectors [n, width] of one side ("image" or "text"), as `meridian predict`.

        Returns uncertainty, aleatoric, epistemic, log_variance, fidelity, each [n] float64, and, unless arrays is
        False, mean, scale, shape, each [n, width] float32: the distribution in the coordinates of unit vectors. NaN
        where a method has none. passes: with dropout, 0: 15, or what the adapter says; dropout: of these,
        None: as trained.
        """
        x, which = self._rows(vectors), _side(side)
        n = x.shape[0]
        opt = PredictOpt(size=ctypes.sizeof(PredictOpt), passes=_arrays.whole(passes, "passes", 0, 100000),
                         dropout=-1.0 if dropout is None else _arrays.real(dropout, "dropout"),
                         seed=_arrays.whole(seed, "seed", 0, 2**63 - 1))
        out: Dict[str, np.ndarray] = {}
        for name in ("uncertainty", "aleatoric", "epistemic", "log_variance", "fidelity"):
            out[name] = _arrays.new((n,), np.float64, name)
        for name in ("mean", "scale", "shape") if arrays else ():
            out[name] = _arrays.new((n, self._width), np.float32, name)
        for a in out.values():
            a.fill(np.nan)
        into = Predicted(size=ctypes.sizeof(Predicted), **{name: a.ctypes.data for name, a in out.items()})
        into._arrays = out
        with self._handle as h:
            call(lib.mrd_adapter_predict, h, _arrays.address(x), n, self._width, which, opt, into)
        return out

    def sample(self, vectors: Any, side: str, row: int, n: int = 16, *, region: str = "all",
               seed: int = 0) -> np.ndarray:
        """Draws [n, width], float32, unit vectors, from the distribution of one row of vectors [m, width].

        region: "near" (the middle half of each dimension), "all", or "tail" (beyond the middle nine tenths).
        """
        x, which = self._rows(vectors), _side(side)
        if region not in _REGIONS:
            raise ValueError(f"region: {region!r}, expected one of {', '.join(_REGIONS)}")
        out = _arrays.new((_arrays.whole(n, "n", 0, 1000000), self._width), np.float32, "draws")
        with self._handle as h:
            call(lib.mrd_adapter_sample, h, _arrays.address(x), x.shape[0], self._width, which,
                 _arrays.whole(row, "row", 0, 2**63 - 1), out.shape[0], region.encode(),
                 _arrays.whole(seed, "seed", 0, 2**63 - 1), _arrays.address(out))
        return out

    def likelihood(self, images: Any, texts: Any, side: str, row: int) -> np.ndarray:
        """Log-likelihood [rows of the other side], float64, per dimension, of each vector of the other side under the
        distribution of row `row` of `side`."""
        which = _side(side)
        b = borrow(images, texts, np.empty((0, 2), np.int64))
        out = _arrays.new((b.n_images if which else b.n_texts,), np.float64, "likelihoods")
        with self._handle as h:
            call(lib.mrd_adapter_likelihood, h, b, which, _arrays.whole(row, "row", 0, 2**63 - 1),
                 _arrays.address(out))
        return out
