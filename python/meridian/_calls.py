"""How a function of the library is called: the GIL released, Ctrl-C obeyed, messages handed to `logging`.

ctypes releases the GIL for the time of a call, but Python runs signal handlers only in the main thread and only between
two of its own instructions: a call made there would hear of Ctrl-C when it is over. So calls of the main thread are made
by a second thread, while the main thread waits for a lock, which signals do interrupt. On KeyboardInterrupt, or whatever
else a handler raises, the library is told to stop, the call is waited for (it writes into arrays that must not go away)
and the exception goes on. Other threads call directly: no signal ever reaches them.

The second thread is kept, because the library's team of compute threads belongs to the thread that calls it; a forked
child starts its own. Messages are collected during a call and logged after it, by then no lock of the library is held
and handlers may do what they like. The logger is "meridian".
"""

import collections
import ctypes
import logging
import os
import queue
import threading
from typing import Any, Callable, Optional

from ._errors import error_of
from ._library import LogSink, lib

_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)
_logger = logging.getLogger("meridian")
_messages: "collections.deque[tuple[int, str]]" = collections.deque(maxlen=10000)
inside = threading.local()  # .sink: this thread is in the message callback, so the library holds a lock


def _take_message(_ctx: Any, level: int, text: bytes) -> None:
    inside.sink = True
    try:
        _messages.append((_LEVELS[min(max(level, 0), 3)], text.decode("utf-8", "replace")))
    finally:
        inside.sink = False


_sink = LogSink(_take_message)  # kept: the library calls it
lib.mrd_log(_sink, None)


def _log_messages() -> None:
    while _messages:
        try:
            level, text = _messages.popleft()
        except IndexError:  # another thread was faster
            return
        _logger.log(level, "%s", text)


class _Job:
    """A call that the second thread makes. Either it was started, then it ends, or it was cancelled before."""

    def __init__(self, function: Callable[..., int], arguments: "tuple[Any, ...]") -> None:
        self.function, self.arguments = function, arguments
        self.lock = threading.Lock()
        self.started = self.cancelled = False
        self.done = threading.Lock()
        self.done.acquire()
        self.code, self.text = 0, ""
        self.failure: Optional[BaseException] = None

    def run(self) -> None:
        with self.lock:
            if self.cancelled:
                return
            self.started = True
        try:
            self.code, self.text = _call(self.function, self.arguments)
        except BaseException as e:  # an argument that ctypes refuses
            self.failure = e
        self.done.release()

    def abandon(self) -> None:
        """Stops the call and waits for its end, however often Ctrl-C is pressed."""
        while True:
            try:
                with self.lock:
                    self.cancelled = not self.started
                while self.started and not self.done.acquire(timeout=0.02):
                    lib.mrd_interrupt()  # again: the call may not have begun when it was told the first time
                return
            except KeyboardInterrupt:
                continue


class _Worker:
    """The second thread and what it is to do. It is a daemon: an interpreter that ends does not wait for it."""

    def __init__(self) -> None:
        self.jobs: "queue.SimpleQueue[_Job]" = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="meridian", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while True:
            job = self.jobs.get()
            job.run()
            del job  # and with it the caller's arrays


_worker: Optional[_Worker] = None


def _forget_worker() -> None:
    global _worker
    _worker = None  # threads do not survive a fork


os.register_at_fork(after_in_child=_forget_worker)


def _call(function: Callable[..., int], arguments: "tuple[Any, ...]") -> "tuple[int, str]":
    code = function(*arguments)
    return code, lib.mrd_error().decode("utf-8", "replace") if code < 0 else ""


def _call_aside(function: Callable[..., int], arguments: "tuple[Any, ...]") -> "tuple[int, str]":
    global _worker
    job = _Job(function, arguments)
    try:
        if _worker is None:
            _worker = _Worker()
        _worker.jobs.put(job)
        job.done.acquire()
    except BaseException:
        job.abandon()
        raise
    if job.failure is not None:
        raise job.failure
    return job.code, job.text


def call(function: Callable[..., int], *arguments: Any) -> None:
    """Calls a function of the library and raises what its code says. Arguments are kept alive until it returns."""
    main = threading.current_thread() is threading.main_thread()
    code, text = (_call_aside if main else _call)(function, arguments)
    if _messages:
        _log_messages()
    if code < 0:
        raise error_of(code, text)


def call_for_text(function: Callable[..., int], *arguments: Any) -> str:
    """A call whose first argument receives a string."""
    out = ctypes.c_void_p()
    call(function, ctypes.byref(out), *arguments)
    return take_text(out.value)


def take_text(address: Optional[int]) -> str:
    """Reads a string that the library handed out, and gives it back."""
    if not address:
        return ""
    try:
        return ctypes.string_at(address).decode("utf-8", "replace")
    finally:
        lib.mrd_free(address)


def interrupt() -> None:
    """Stops the calls that are running in other threads: they raise Interrupted. Later calls are not concerned."""
    lib.mrd_interrupt()
