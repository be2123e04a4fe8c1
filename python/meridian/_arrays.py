"""Arguments on their way to the library. One rule for every array: the kind decides (TypeError), then the shape
(ValueError), then the memory that a copy would need (MemoryError); only then is anything copied.

The library reads C-ordered arrays of one type. An array that is that already is lent as it is, read-only ones too;
any other is copied. float16 widens exactly; float64 is rounded to float32 where the library computes from float32, and
what is too large for it becomes infinite, which the library refuses.
"""

import ctypes
import operator
import os
from typing import Any, Optional, Sequence

import numpy as np

_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
ROWS, WIDTH = 100000000, 65536  # what the library takes (meridian limits)


def _room(shape: "Sequence[int]", dtype: Any, what: str) -> None:
    need = np.dtype(dtype).itemsize
    for n in shape:
        need *= int(n)
    if need > _MEMORY:
        raise MemoryError(f"{what}: shape {tuple(shape)} takes {need / 1e9:.1f} GB as {np.dtype(dtype).name}; this "
                          f"machine has {_MEMORY / 1e9:.1f} GB")


def new(shape: "Sequence[int]", dtype: Any, what: str) -> np.ndarray:
    """An array for the library to fill. MemoryError rather than a promise of memory that is not there."""
    _room(shape, dtype, what)
    return np.empty(shape, dtype)


def array(x: Any, what: str) -> np.ndarray:
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{what}: a masked array; fill it or leave the masked rows out first")
    if isinstance(x, (str, bytes, dict, set)):
        raise TypeError(f"{what}: {type(x).__name__}, expected an array")
    return np.asarray(x)  # anything with numbers in it: lists of lists, tensors of other libraries on the CPU


def _copy(a: np.ndarray, dtype: Any, what: str) -> np.ndarray:
    flags = a.flags
    if a.dtype == np.dtype(dtype) and a.dtype.isnative and flags.c_contiguous and flags.aligned:
        return a.view(np.ndarray)
    _room(a.shape, dtype, what)
    with np.errstate(all="ignore"):  # too large for float32: infinite, and refused later
        return np.array(a, dtype=dtype, order="C", copy=True, subok=False)


def floats(x: Any, what: str, axes: str, dtype: Any = np.float32, sizes: "Sequence[Optional[int]]" = (),
           most: "Sequence[int]" = (ROWS,)) -> np.ndarray:
    """x as a C-ordered array of `dtype`. axes: names of the dimensions, "n d"; sizes: what some of them must be; most:
    what they may be."""
    a = array(x, what)
    if a.dtype.kind != "f" or a.dtype.itemsize not in (2, 4, 8):
        raise TypeError(f"{what}: dtype {a.dtype}, expected float16, float32 or float64")
    names = axes.split()
    wrong = a.ndim != len(names)
    if not wrong:
        wrong = any(want is not None and want != found for want, found in zip(sizes, a.shape))
    if wrong:
        shown = [str(want) if want is not None else name for name, want in
                 zip(names, list(sizes) + [None] * len(names))]
        raise ValueError(f"{what}: shape {a.shape}, expected [{', '.join(shown)}]")
    for name, found, high in zip(names, a.shape, most):
        if found > high:
            raise ValueError(f"{what}: shape {a.shape}, expected {name} at most {high}")
    return _copy(a, dtype, what)


def is_double(a: np.ndarray) -> bool:
    """Whether an array comes in double precision, in either byte order."""
    return a.dtype.kind == "f" and a.dtype.itemsize == 8


def pairs(x: Any) -> np.ndarray:
    """[n, 2] rows of whole numbers, as int64."""
    a = array(x, "pairs")
    if a.size == 0 and a.ndim <= 2 and (a.ndim != 2 or a.shape[1] in (0, 2)):
        return np.empty((0, 2), np.int64)
    if a.dtype.kind not in "iu":
        raise TypeError(f"pairs: dtype {a.dtype}, expected whole numbers (rows of the images and of the texts)")
    if a.ndim != 2 or a.shape[1] != 2:
        raise ValueError(f"pairs: shape {a.shape}, expected [n, 2]: image row, text row")
    if a.dtype.kind == "u" and a.size and int(a.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"pairs: holds {a.max()}, which is no row of any array")
    return _copy(a, np.int64, "pairs")


def match(x: Any, n: int) -> np.ndarray:
    """[n, n] of truth values or of 0 and 1, as bytes."""
    a = array(x, "match")
    if a.dtype.kind not in "biu":
        raise TypeError(f"match: dtype {a.dtype}, expected bool, or whole numbers 0 and 1")
    if a.shape != (n, n):
        raise ValueError(f"match: shape {a.shape}, expected [{n}, {n}]: picture, text")
    if a.dtype.kind != "b":
        _room(a.shape, np.bool_, "match")
        if ((a != 0) & (a != 1)).any():
            raise ValueError("match: holds a number other than 0 and 1")
    return _copy(a, np.uint8, "match")


def address(a: np.ndarray) -> ctypes.c_void_p:
    """Where its numbers lie. The caller keeps the array alive."""
    p = ctypes.c_void_p(a.ctypes.data)
    p._array = a  # and so does the pointer
    return p


def whole(x: Any, what: str, low: int, high: int) -> int:
    """A whole number in a range: TypeError for others, ValueError outside. ctypes would cut it silently."""
    if isinstance(x, (bool, np.bool_)):
        raise TypeError(f"{what}: {x}, expected a whole number")
    try:
        n = operator.index(x)
    except TypeError:
        raise TypeError(f"{what}: {type(x).__name__}, expected a whole number") from None
    if not low <= n <= high:
        raise ValueError(f"{what}: {n}, expected {low} to {high}")
    return n


def real(x: Any, what: str) -> float:
    """A number; not a string that looks like one."""
    if isinstance(x, (str, bytes, bool, np.bool_)):
        raise TypeError(f"{what}: {type(x).__name__}, expected a number")
    try:
        return float(x)
    except (TypeError, OverflowError):
        raise TypeError(f"{what}: {type(x).__name__}, expected a number") from None


def text(x: Any, what: str) -> bytes:
    """A str as UTF-8. ValueError for a NUL inside and for half a surrogate pair, which no UTF-8 has."""
    if not isinstance(x, str):
        raise TypeError(f"{what}: {type(x).__name__}, expected str")
    s = x.encode("utf-8")
    if b"\0" in s:
        raise ValueError(f"{what}: holds a NUL character")
    return s


def path(x: Any, what: str) -> bytes:
    """A str, bytes or os.PathLike as the system's bytes."""
    try:
        s = os.fsencode(x)
    except TypeError:
        raise TypeError(f"{what}: {type(x).__name__}, expected a path (str, bytes or os.PathLike)") from None
    if not s or b"\0" in s:
        raise ValueError(f"{what}: {'empty' if not s else 'holds a NUL'}, expected a path")
    return s


def strings(items: "Sequence[bytes]") -> Any:
    """An array of char *; it keeps the bytes alive."""
    return (ctypes.c_char_p * len(items))(*items)
