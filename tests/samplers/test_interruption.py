"""Ctrl-C is noted, raised where it is safe, and at once when pressed again."""

import os
import signal
import threading

import pytest

from scoresample.samplers.interruption import noting_ctrl_c


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_one_press_waits_for_the_safe_point():
    before = signal.getsignal(signal.SIGINT)
    with noting_ctrl_c() as stop_if_pressed:
        stop_if_pressed()
        press()
        done = True
        with pytest.raises(KeyboardInterrupt):
            stop_if_pressed()
    assert done and signal.getsignal(signal.SIGINT) is before


def test_a_second_press_acts_at_once():
    def press_twice():
        with noting_ctrl_c():
            press()
            press()

    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_program_with_its_own_handler_keeps_it():
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        with noting_ctrl_c() as stop_if_pressed:
            press()
            stop_if_pressed()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1]


def test_other_threads_leave_everything_as_it_is():
    failed = []

    def work():
        try:
            with noting_ctrl_c() as stop_if_pressed:
                stop_if_pressed()
        except ValueError as error:  # what `signal.signal` raises outside the main thread
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed
