"""What the library hands out and takes back: a handle outlives the calls that use it, whoever closes it meanwhile."""

import ctypes
import threading
import weakref
from typing import Any, Callable, List, Tuple

from ._calls import inside

_unfreed: "List[Tuple[Callable[..., None], int]]" = []  # given up where nothing may be freed: inside the library's own
# callback


def _free(function: Callable[..., None], address: int) -> None:
    if getattr(inside, "sink", False):
        _unfreed.append((function, address))
        return
    handle = ctypes.c_void_p(address)
    function(ctypes.byref(handle))


def free_waiting() -> None:
    """Gives back what could not be given back when it was forgotten."""
    while _unfreed:
        _free(*_unfreed.pop())


class Handle:
    """`with handle as address` for the time of a call. what: "model", for messages."""

    def __init__(self, address: int, free: Callable[..., None], what: str) -> None:
        self.address, self.free, self.what = address, free, what
        self.users, self.closed = 0, False
        self.lock = threading.Lock()

    def __enter__(self) -> int:
        with self.lock:
            if self.closed:
                raise ValueError(f"the {self.what} is closed")
            self.users += 1
        return self.address

    def __exit__(self, *_: Any) -> None:
        with self.lock:
            self.users -= 1
            last = self.closed and self.users == 0
        if last:
            _free(self.free, self.address)

    def close(self) -> None:
        with self.lock:
            last = not self.closed and self.users == 0
            self.closed = True
        if last:
            _free(self.free, self.address)


class Owner:
    """A thing with a handle: close(), `with`, and forgetting it give the memory back."""

    def _own(self, address: int, free: Callable[..., None], what: str) -> None:
        self._handle = Handle(address, free, what)
        self._finalizer = weakref.finalize(self, self._handle.close)
        self._finalizer.atexit = False

    def close(self) -> None:
        """Gives the memory back. Calls that are running end as they would; later ones are ValueErrors."""
        self._finalizer.detach()
        self._handle.close()

    def __exit__(self, *_: Any) -> None:
        self.close()
