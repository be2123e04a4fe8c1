"""Options by name, on their way to the library's tables: the ones that the command line reads."""

import numbers
from typing import Any, Dict, List

import numpy as np

from . import _arrays


def _word(name: str, value: Any) -> List[bytes]:
    if isinstance(value, (bool, np.bool_)):
        shown = "true" if value else "false"
    elif isinstance(value, numbers.Integral):
        shown = str(int(value))
    elif isinstance(value, numbers.Real):
        shown = repr(float(value))
    elif isinstance(value, str):
        shown = value
    elif isinstance(value, (list, tuple)):
        return [word for one in value for word in _word(name, one)]
    else:
        raise TypeError(f"option {name}: {type(value).__name__}, expected a number, a str, a bool or a list of str")
    return [_arrays.text(f"{name}={shown}", f"option {name}")]


def words(options: "Dict[str, Any]") -> List[bytes]:
    return [word for key, value in options.items() for word in _word(key, value)]
