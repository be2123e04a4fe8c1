"""Finds libmeridian, sees that it is the one this package was written for, and declares its functions.

Where it is looked for, the first that is there:
  $MERIDIAN_LIB   the file, or the folder that holds it; when this is set nothing else is tried
  this folder     a library that was put beside the package
  the place       where `meson install` put it (written down by the installation)
  the build tree  build/ of the source tree that this package lies in
  the system      what its loader finds

Structs repeat include/meridian.h field by field; each begins with its size, so an older library ignores newer fields.
"""

import ctypes
import os
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint64, c_void_p

VERSION = "0.1.0"
ABI = 0
_FILE = f"libmeridian.so.{ABI}"


class ModelOpt(ctypes.Structure):
    """struct mrd_model_opt."""

    _fields_ = [("size", c_size_t), ("engine", c_char_p), ("threads", c_int), ("low", c_int), ("image_size", c_int64)]


class CaptionOpt(ctypes.Structure):
    """struct mrd_caption_opt."""

    _fields_ = [("size", c_size_t), ("beam", c_int64), ("min_length", c_int64), ("max_length", c_int64),
                ("length_penalty", c_double), ("repetition_penalty", c_double), ("prompt", c_char_p)]


class Pairs(ctypes.Structure):
    """struct mrd_pairs."""

    _fields_ = [("images", c_void_p), ("texts", c_void_p), ("n_images", c_int64), ("n_texts", c_int64),
                ("width", c_int64), ("pairs", c_void_p), ("n_pairs", c_int64)]


class MeasureOpt(ctypes.Structure):
    """struct mrd_measure_opt."""

    _fields_ = [("size", c_size_t), ("bootstrap", c_int64), ("seed", c_uint64), ("temperature", c_double),
                ("bins", c_int64), ("bins_mass", c_int64)]


class LossOpt(ctypes.Structure):
    """struct mrd_loss_opt."""

    _fields_ = [("size", c_size_t), ("options", POINTER(c_char_p)), ("n_options", c_int64), ("match", c_void_p),
                ("normalize", c_int)]


class AdapterOpt(ctypes.Structure):
    """struct mrd_adapter_opt."""

    _fields_ = [("size", c_size_t), ("engine", c_char_p), ("threads", c_int), ("options", POINTER(c_char_p)),
                ("n_options", c_int64)]


class PredictOpt(ctypes.Structure):
    """struct mrd_predict_opt."""

    _fields_ = [("size", c_size_t), ("passes", c_int64), ("dropout", c_double), ("seed", c_uint64)]


class Predicted(ctypes.Structure):
    """struct mrd_predicted."""

    _fields_ = [("size", c_size_t), ("uncertainty", c_void_p), ("aleatoric", c_void_p), ("epistemic", c_void_p),
                ("log_variance", c_void_p), ("fidelity", c_void_p), ("mean", c_void_p), ("scale", c_void_p),
                ("shape", c_void_p)]


class UncertaintyOpt(ctypes.Structure):
    """struct mrd_uncertainty_opt."""

    _fields_ = [("size", c_size_t), ("bootstrap", c_int64), ("seed", c_uint64), ("temperature", c_double),
                ("levels", c_int64), ("scores", c_char_p), ("split", POINTER(c_char_p)), ("labels", POINTER(c_char_p)),
                ("adapter", c_void_p)]


class CalibrateOpt(ctypes.Structure):
    """struct mrd_calibrate_opt."""

    _fields_ = [("size", c_size_t), ("method", c_char_p), ("features", c_char_p), ("hits", c_int64),
                ("validation_share", c_double), ("risk_share", c_double), ("same", c_double), ("l2", c_double),
                ("hard", c_int), ("bootstrap", c_int64), ("seed", c_uint64), ("split", POINTER(c_char_p)),
                ("path", c_char_p), ("force", c_int)]


class ReviewOpt(ctypes.Structure):
    """struct mrd_review_opt."""

    _fields_ = [("size", c_size_t), ("what", c_char_p), ("n", c_int64), ("temperature", c_double), ("raw", c_int)]


LogSink = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p)

_FUNCTIONS = {  # name: (result, arguments)
    "mrd_version": (c_char_p, []),
    "mrd_abi": (c_int, []),
    "mrd_error": (c_char_p, []),
    "mrd_log": (None, [LogSink, c_void_p]),
    "mrd_free": (None, [c_void_p]),
    "mrd_interrupt": (None, []),
    "mrd_model_open": (c_int, [POINTER(c_void_p), c_char_p, POINTER(ModelOpt)]),
    "mrd_model_free": (None, [POINTER(c_void_p)]),
    "mrd_model_width": (c_int64, [c_void_p]),
    "mrd_model_image_size": (c_int64, [c_void_p]),
    "mrd_model_context": (c_int64, [c_void_p]),
    "mrd_model_vocab": (c_int64, [c_void_p]),
    "mrd_model_logit_scale": (c_double, [c_void_p]),
    "mrd_model_name": (c_char_p, [c_void_p]),
    "mrd_model_family": (c_char_p, [c_void_p]),
    "mrd_model_layout": (c_char_p, [c_void_p]),
    "mrd_model_fingerprint": (c_int, [c_void_p, POINTER(c_void_p)]),
    "mrd_model_preprocess": (c_int, [c_void_p, POINTER(c_char_p), c_int64, c_void_p]),
    "mrd_model_encode_images": (c_int, [c_void_p, POINTER(c_char_p), c_int64, c_void_p]),
    "mrd_model_encode_pixels": (c_int, [c_void_p, c_void_p, c_int64, c_void_p]),
    "mrd_model_encode_texts": (c_int, [c_void_p, POINTER(c_char_p), c_int64, c_void_p]),
    "mrd_model_tokenize": (c_int, [c_void_p, POINTER(c_char_p), c_int64, c_void_p, POINTER(c_int64)]),
    "mrd_model_match": (c_int, [c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_void_p]),
    "mrd_model_caption": (c_int, [c_void_p, c_void_p, c_int64, POINTER(CaptionOpt), POINTER(c_void_p), c_void_p]),
    "mrd_retrieval": (c_int, [POINTER(c_void_p), POINTER(Pairs), POINTER(MeasureOpt)]),
    "mrd_geometry": (c_int, [POINTER(c_void_p), POINTER(Pairs), POINTER(MeasureOpt)]),
    "mrd_loss": (c_int, [c_char_p, POINTER(LossOpt), c_void_p, c_void_p, c_int64, c_int64, POINTER(c_double), c_void_p,
                         c_void_p]),
    "mrd_loss_f32": (c_int, [c_char_p, POINTER(LossOpt), c_void_p, c_void_p, c_int64, c_int64, POINTER(c_double),
                             c_void_p, c_void_p]),
    "mrd_losses": (c_int, [POINTER(c_void_p)]),
    "mrd_adapter_fit": (c_int, [POINTER(c_void_p), POINTER(Pairs), POINTER(AdapterOpt), POINTER(c_void_p)]),
    "mrd_adapter_open": (c_int, [POINTER(c_void_p), c_char_p, POINTER(AdapterOpt)]),
    "mrd_adapter_save": (c_int, [c_void_p, c_char_p, c_int]),
    "mrd_adapter_free": (None, [POINTER(c_void_p)]),
    "mrd_adapter_method": (c_char_p, [c_void_p]),
    "mrd_adapter_width": (c_int64, [c_void_p]),
    "mrd_adapter_options": (c_int, [POINTER(c_void_p)]),
    "mrd_adapter_predict": (c_int, [c_void_p, c_void_p, c_int64, c_int64, c_int, POINTER(PredictOpt),
                                    POINTER(Predicted)]),
    "mrd_adapter_sample": (c_int, [c_void_p, c_void_p, c_int64, c_int64, c_int, c_int64, c_int64, c_char_p, c_uint64,
                                   c_void_p]),
    "mrd_adapter_likelihood": (c_int, [c_void_p, POINTER(Pairs), c_int, c_int64, c_void_p]),
    "mrd_uncertainty": (c_int, [POINTER(c_void_p), POINTER(Pairs), POINTER(UncertaintyOpt)]),
    "mrd_calibrate": (c_int, [POINTER(c_void_p), POINTER(Pairs), POINTER(CalibrateOpt)]),
    "mrd_review": (c_int, [POINTER(c_void_p), POINTER(Pairs), POINTER(ReviewOpt)]),
}


def _candidates() -> "list[str]":
    named = os.environ.get("MERIDIAN_LIB")
    if named:
        return [os.path.join(named, _FILE) if os.path.isdir(named) else named]
    here = os.path.dirname(os.path.realpath(__file__))
    found = [os.path.join(here, _FILE)]
    try:
        from ._installed import LIBRARY  # written by `meson install`

        found.append(LIBRARY)
    except ImportError:
        pass
    root = os.path.dirname(os.path.dirname(here))
    if os.path.isfile(os.path.join(root, "include", "meridian.h")):
        found.append(os.path.join(root, "build", "src", "api", _FILE))
    return [path for path in found if os.path.isfile(path)] + [_FILE]


def _open() -> "tuple[ctypes.CDLL, str]":
    path = _candidates()[0]
    try:
        return ctypes.CDLL(path), path
    except OSError as e:
        raise ImportError(f"libmeridian cannot be loaded: {e}. Build it (make, in the source tree), install it, or set "
                          f"MERIDIAN_LIB to the file {_FILE}") from None


def _declare(lib: ctypes.CDLL, path: str) -> None:
    for name, (result, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(lib, name)
        except AttributeError:
            raise ImportError(f"{path} has no function {name}: it is older than this package (version {VERSION}), or no "
                              "libmeridian at all. Build or install both from the same source") from None
        function.restype, function.argtypes = result, arguments
        if name == "mrd_abi":  # declared second: what does not fit is said before anything is missed
            _check(lib, path)


def _check(lib: ctypes.CDLL, path: str) -> None:
    abi, version = lib.mrd_abi(), lib.mrd_version().decode()
    if abi != ABI or version.split(".")[:2] != VERSION.split(".")[:2]:
        raise ImportError(f"{path} is version {version} with ABI {abi}; this package, version {VERSION}, needs ABI {ABI} "
                          f"and version {'.'.join(VERSION.split('.')[:2])}. Build or install both from the same source")


def _real_path(path: str) -> str:
    """Of a library that the system's loader found by its name."""
    if os.path.sep in path:
        return os.path.realpath(path)
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            for line in maps:
                if os.path.basename(line.rstrip()).startswith("libmeridian.so"):
                    return line.split(None, 5)[-1].rstrip()
    except OSError:
        pass
    return path


lib, _found = _open()
_declare(lib, _found)
_path = _real_path(_found)


def library_path() -> str:
    """The file of the library that this process uses."""
    return _path
