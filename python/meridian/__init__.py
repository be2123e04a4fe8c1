"""The geometry of vision-language embeddings, from Python: libmeridian through ctypes, numpy arrays in and out.

    import meridian as mrd
    m = mrd.Model("emoji")
    I = m.encode_images(["cat.png", "dog.png"])        # [2, d] float32, rows of unit length
    T = m.encode_texts(["a cat", "a dog"])             # [2, d]
    mrd.retrieval(I, T)["image_to_text"]["recall"]     # {"1": 1.0, ...}
    value, dI, dT = mrd.loss("clip", I, T, tau=0.07)
    a = mrd.Adapter.fit(I, T, method="probvlm")        # distributions in place of vectors

Nothing is compiled and nothing else is imported. The names are those of the program `meridian`, and so are the numbers:
this package checks arguments, lends memory, and reads answers. docs/python.md is the guide, include/meridian.h the
contract of the library underneath.

Errors. What the library refuses is a MeridianError with its message; those for bad values are ValueErrors too
(DataError, NonFiniteError, UsageError, MismatchError), running out of memory is a MemoryError too. Arguments of the
wrong kind are TypeErrors, of the wrong shape ValueErrors. Ctrl-C stops a long call.

Arrays. float16, float32 and float64 in any layout and byte order; anything else is a TypeError that names the dtype.
An array that does not lie in memory as C would have it, in the type that is computed with, is copied first.
"""

from ._errors import (DataError, ExistsError, Interrupted, LockedError, MeridianError, MismatchError, NonFiniteError,
                      OutOfMemory, SpaceError, UnsupportedError, UsageError)
from ._library import VERSION as __version__, library_path
from ._adapter import Adapter
from ._calls import interrupt
from ._loss import loss, losses
from ._measures import geometry, retrieval
from ._model import Model
from ._trust import calibrate, review, uncertainty

__all__ = ["Adapter", "DataError", "ExistsError", "Interrupted", "LockedError", "MeridianError", "MismatchError", "Model",
           "NonFiniteError", "OutOfMemory", "SpaceError", "UnsupportedError", "UsageError", "__version__",
           "calibrate", "geometry", "interrupt", "library_path", "loss", "losses", "retrieval", "review", "uncertainty"]
