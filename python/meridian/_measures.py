"""Measures of two matrices of vectors: the dicts that `meridian eval --json` prints."""

import ctypes
import json
from typing import Any, Callable, Dict, Optional

from . import _arrays
from ._calls import call_for_text
from ._library import MeasureOpt, Pairs, lib


def borrow(images: Any, texts: Any, pairs: Any) -> Pairs:
    """Two matrices and which rows belong together, for the time of a call."""
    most = (_arrays.ROWS, _arrays.WIDTH)
    x = _arrays.floats(images, "images", "n d", most=most)
    y = _arrays.floats(texts, "texts", "m d", sizes=(None, x.shape[1]), most=most)
    rows = None if pairs is None else _arrays.pairs(pairs)
    p = Pairs(images=x.ctypes.data, texts=y.ctypes.data, n_images=x.shape[0], n_texts=y.shape[0], width=x.shape[1],
              pairs=None if rows is None else rows.ctypes.data, n_pairs=0 if rows is None else rows.shape[0])
    p._arrays = (x, y, rows)  # alive as long as the call, also one that nobody waits for
    return p


def _measure(function: Callable[..., int], images: Any, texts: Any, pairs: Any, options: Any) -> Dict[str, Any]:
    p = borrow(images, texts, pairs)
    options.size = ctypes.sizeof(options)
    return json.loads(call_for_text(function, p, options))


def resamples(n: Any) -> int:
    return _arrays.whole(n, "bootstrap", 0, 1000000) or -1


def retrieval(images: Any, texts: Any, pairs: Any = None, *, bootstrap: int = 1000, seed: int = 0,
              temperature: Optional[float] = None, bins: int = 15, bins_mass: int = 10) -> Dict[str, Any]:
    """How well each side finds the other, as `meridian eval retrieval --json`.

    images [n, d], texts [m, d]: vectors; only directions count. pairs [p, 2]: image row, text row, many to many; None:
    row i with row i. bootstrap: resamples of the 95 % intervals, 0: none. temperature: of the softmax behind the
    calibration measures; None: 0.01 (pass 1 / model.logit_scale for a model's own). bins, bins_mass: of the calibration
    errors, 1 to 64.

    Returns {"image_to_text": {...}, "text_to_image": {...}} with recall {"1", "5", "10"} and recall_ci, mrr,
    median_rank, ece, ece_equal_mass, brier, nll, fitted_temperature and more; rates in 0..1, None where nothing can be
    computed. Formulas: docs/methods/measures.md.

    Raises TypeError (dtypes), ValueError (shapes, pairs outside), NonFiniteError (a row of zeros, NaN or infinity).
    """
    t = 0.0 if temperature is None else _arrays.real(temperature, "temperature")
    if temperature is not None and not 0 < t <= 1000:
        raise ValueError(f"temperature: {t}, expected above 0 and at most 1000")
    return _measure(lib.mrd_retrieval, images, texts, pairs,
                    MeasureOpt(bootstrap=resamples(bootstrap), seed=_arrays.whole(seed, "seed", 0, 2**63 - 1),
                               temperature=t, bins=_arrays.whole(bins, "bins", 1, 64),
                               bins_mass=_arrays.whole(bins_mass, "bins_mass", 1, 64)))


def geometry(images: Any, texts: Any, pairs: Any = None, *, bootstrap: int = 1000, seed: int = 0) -> Dict[str, Any]:
    """The shape of the space, as `meridian eval geometry --json`: alignment, uniformity, centroid_distance,
    linear_separability, effective_rank, mean_cosine, each with its interval.

    Arguments and errors as for retrieval. Formulas: docs/methods/measures.md.
    """
    return _measure(lib.mrd_geometry, images, texts, pairs,
                    MeasureOpt(bootstrap=resamples(bootstrap), seed=_arrays.whole(seed, "seed", 0, 2**63 - 1)))
