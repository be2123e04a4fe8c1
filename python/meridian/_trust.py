"""How far to trust an answer: scores of doubt, the probability that a hit is right, likely faults of the data."""

import ctypes
import json
from typing import Any, Dict, List, Optional, Sequence, Union

from . import _arrays
from ._adapter import Adapter
from ._calls import call_for_text
from ._library import CalibrateOpt, ReviewOpt, UncertaintyOpt, lib
from ._measures import borrow, resamples


def _names(x: "Union[str, Sequence[str], None]", what: str) -> Optional[bytes]:
    """A str with commas, or a list of str; None: the library's usual."""
    if x is None or isinstance(x, str):
        return None if x is None else _arrays.text(x, what)
    if not isinstance(x, (list, tuple)):
        raise TypeError(f"{what}: {type(x).__name__}, expected a str or a list of str")
    return b",".join(_arrays.text(one, f"{what}[{i}]") for i, one in enumerate(x))


def _words(x: Any, what: str, n: int) -> Optional[List[bytes]]:
    """One word for each picture; labels may be whole numbers."""
    if x is None:
        return None
    if isinstance(x, (str, bytes)):
        raise TypeError(f"{what}: {type(x).__name__}, expected one word for each image")
    items = [one.decode("utf-8") if isinstance(one, bytes) else str(one) for one in x]
    if len(items) != n:
        raise ValueError(f"{what}: {len(items)} words, expected one for each of the {n} images")
    return [_arrays.text(one, f"{what}[{i}]") for i, one in enumerate(items)]


def _seed(x: Any) -> int:
    return _arrays.whole(x, "seed", 0, 2**63 - 1)


def uncertainty(images: Any, texts: Any, pairs: Any = None, *, scores: "Union[str, Sequence[str], None]" = None,
                split: Any = None, labels: Any = None, adapter: Optional[Adapter] = None,
                temperature: Optional[float] = None, levels: int = 5, bootstrap: int = 1000,
                seed: int = 0) -> Dict[str, Any]:
    """Does a score know when the first answer is wrong? As `meridian eval uncertainty --json`, without the source.

    images, texts, pairs: as for retrieval. scores: names, None: all. split: one of "test", "val", "train" for each
    image: test is measured, val calibrates, train is the reference; None: every query is measured. labels: one for each
    image; a hit is then an answer with the query's label. adapter: also its uncertainty.

    Returns {"image_to_text": {"scores": {name: {"auroc", "aurc", "spearman", "bins", ...}}, ...}, "text_to_image": ...}.
    Formulas: docs/methods/uncertainty.md.
    """
    b = borrow(images, texts, pairs)
    if adapter is not None and not isinstance(adapter, Adapter):
        raise TypeError(f"adapter: {type(adapter).__name__}, expected an Adapter")
    words = [_words(x, what, b.n_images) for x, what in ((split, "split"), (labels, "labels"))]
    v = [None if w is None else _arrays.strings(w) for w in words]
    opt = UncertaintyOpt(size=ctypes.sizeof(UncertaintyOpt), bootstrap=resamples(bootstrap), seed=_seed(seed),
                         temperature=0.0 if temperature is None else _arrays.real(temperature, "temperature"),
                         levels=_arrays.whole(levels, "levels", 2, 64), scores=_names(scores, "scores"), split=v[0],
                         labels=v[1])
    opt._kept = (words, v)
    if adapter is None:
        return json.loads(call_for_text(lib.mrd_uncertainty, b, opt))
    with adapter._handle as h:
        opt.adapter = h
        return json.loads(call_for_text(lib.mrd_uncertainty, b, opt))


def calibrate(images: Any, texts: Any, pairs: Any = None, *, method: str = "beta",
              features: "Union[str, Sequence[str]]" = "cosine,margin,softmax", hits: int = 10,
              validation_share: float = 0.6, risk_share: float = 0.5, same: float = 0.99999, l2: float = 0.001,
              hard: bool = False, split: Any = None, path: Any = None, force: bool = False, bootstrap: int = 1000,
              seed: int = 0) -> Dict[str, Any]:
    """p(match), the probability that a hit is right: fitted on one part of the pairs, judged on another, as
    `meridian calibrate --json`. path: also written there, for `meridian search --calibration`.

    method: "beta", "platt", "isotonic" or "temperature". split: "val" or "test" for each image in place of
    validation_share. The other options and what is returned: docs/methods/calibration.md.
    """
    b = borrow(images, texts, pairs)
    words = _words(split, "split", b.n_images)
    v = None if words is None else _arrays.strings(words)
    opt = CalibrateOpt(size=ctypes.sizeof(CalibrateOpt), method=_arrays.text(method, "method"),
                       features=_names(features, "features"), hits=_arrays.whole(hits, "hits", 1, 1000),
                       validation_share=_arrays.real(validation_share, "validation_share"),
                       risk_share=_arrays.real(risk_share, "risk_share"), same=_arrays.real(same, "same"),
                       l2=_arrays.real(l2, "l2"), hard=int(bool(hard)), bootstrap=resamples(bootstrap),
                       seed=_seed(seed), split=v, path=None if path is None else _arrays.path(path, "path"),
                       force=int(bool(force)))
    opt._kept = (words, v)
    return json.loads(call_for_text(lib.mrd_calibrate, b, opt))


def review(images: Any, texts: Any, pairs: Any = None, *, what: "Union[str, Sequence[str], None]" = None, n: int = 50,
           temperature: Optional[float] = None, raw: bool = False) -> List[Dict[str, Any]]:
    """What a person should look at first, as the items of `meridian review --json`: likely "duplicates", "mismatches"
    and "ambiguous" items (what: some of these; None: all), n of each, the likeliest first. raw: by the plain cosine.

    Returns a list of {"what", "score", "cosine", "side", "row", "other_row"}.
    """
    b = borrow(images, texts, pairs)
    opt = ReviewOpt(size=ctypes.sizeof(ReviewOpt), what=_names(what, "what"), n=_arrays.whole(n, "n", 1, 10000000),
                    temperature=0.0 if temperature is None else _arrays.real(temperature, "temperature"),
                    raw=int(bool(raw)))
    return json.loads(call_for_text(lib.mrd_review, b, opt))["items"]
