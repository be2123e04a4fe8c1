"""The losses of `meridian train`, with the gradients of their inputs."""

import ctypes
import json
from typing import Any, Dict, Tuple

import numpy as np

from . import _arrays
from ._calls import call, call_for_text
from ._library import LossOpt, lib
from ._words import words

_PAIRS = 32768  # what the library takes


def loss(name: str, images: Any, texts: Any, *, match: Any = None, normalize: bool = False,
         **options: Any) -> Tuple[float, np.ndarray, np.ndarray]:
    """The loss `name` of n pairs and its derivatives: value, d value / d images, d value / d texts.

    images, texts [n, d]: row i with row i, of unit length; they are taken as they are unless normalize is set, and then
    the derivatives go through the normalisation. match [n, n]: 1 where text j is right for picture i (its diagonal too);
    None: text i for picture i alone. options: as losses() lists them and --loss-opt takes them; tau is temperature.

    Computed in double. The gradients are float64 when either input is, else float32. n is at most 32768, and memory
    grows with its square. Sources: the header of each file in src/loss/.

    Raises UsageError (unknown loss, option or value), TypeError, ValueError (shapes), NonFiniteError.
    """
    images, texts = _arrays.array(images, "images"), _arrays.array(texts, "texts")
    wide = _arrays.is_double(images) or _arrays.is_double(texts)
    real = np.float64 if wide else np.float32
    kind = _arrays.text(name, "name")
    x = _arrays.floats(images, "images", "n d", real, most=(_PAIRS, _arrays.WIDTH))
    y = _arrays.floats(texts, "texts", "n d", real, sizes=x.shape)
    if not x.size:
        raise ValueError(f"images: {x.shape[0]} rows of width {x.shape[1]}, expected at least 1 of each")
    known = None if match is None else _arrays.match(match, x.shape[0])
    if not isinstance(normalize, (bool, np.bool_)):
        raise TypeError(f"normalize: {type(normalize).__name__}, expected bool")
    named = words(options)
    v = _arrays.strings(named)
    opt = LossOpt(size=ctypes.sizeof(LossOpt), options=v, n_options=len(named),
                  match=None if known is None else known.ctypes.data, normalize=int(normalize))
    opt._kept = (v, known)
    value = ctypes.c_double()
    dx, dy = _arrays.new(x.shape, real, "gradient"), _arrays.new(y.shape, real, "gradient")
    call(lib.mrd_loss if wide else lib.mrd_loss_f32, kind, opt, _arrays.address(x), _arrays.address(y), x.shape[0],
         x.shape[1], ctypes.byref(value), _arrays.address(dx), _arrays.address(dy))
    return value.value, dx, dy


def losses() -> Dict[str, Any]:
    """Every loss: name -> {"help", "options": {name: {"type", "default", "min", "max", "choices", "help"}}}."""
    return json.loads(call_for_text(lib.mrd_losses))
