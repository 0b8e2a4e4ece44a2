"""Ctrl-C at a safe point: between two compiled pieces, never lost and never in the middle of something."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def noting_ctrl_c() -> Generator[Callable[[], None], None, None]:
    """Give a function that raises `KeyboardInterrupt` if Ctrl-C was pressed; until it is called, nothing happens.

    An interrupt that Python raises by itself may fall into a callback that swallows it, and a long run would go on.
    A second Ctrl-C acts at once. In other threads than the main one, and where a program has a handler of its own,
    everything is left as it is.
    """
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or before is not signal.default_int_handler:
        yield lambda: None
        return
    pressed = False

    def note(number, frame):
        nonlocal pressed
        if pressed:
            signal.default_int_handler(number, frame)
        pressed = True

    def check():
        if pressed:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)
