from brain_tumor.stage import INTERRUPTED

import os
import signal
import subprocess
import sys
import time

import pytest

IMPORTING = """
from brain_tumor.stage import stage
import torch
print("ready", flush=True)
import time
time.sleep(60)
"""

WORKING = """
from brain_tumor.stage import stage
import time

@stage
def main():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleared")

main()
"""

DONE = """
from brain_tumor.stage import stage
import atexit
import time

@atexit.register
def clear_up():
    print("ready", flush=True)
    time.sleep(0.5)
    print("cleared")

@stage
def main():
    pass

main()
"""

SPEAKING = """
from brain_tumor.stage import stage
import logging

@stage
def main():
    for name in (__name__, "brain_tumor.model.weights", "httpx2"):
        logging.getLogger(name).info("from %s", name)
    logging.getLogger("httpx2").warning("a warning")

main()
"""

BROKEN = """
from brain_tumor.stage import stage
raise ValueError("a defect")
"""


def stopped(script, number, ignored=False):
    """Start a script, send it a signal once it is ready; status, output and what it says on stderr."""
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)  # until it sleeps
    process.send_signal(number)
    if ignored:
        time.sleep(0.2)
        assert process.poll() is None
        process.kill()
    output, said = process.communicate(timeout=20)
    return process.returncode, output, said


def test_an_interrupt_while_a_stage_is_imported_is_one_line():
    assert stopped(IMPORTING, signal.SIGINT) == (-signal.SIGINT, "", f"{INTERRUPTED}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stage_that_is_stopped_clears_up_and_says_so(number):
    assert stopped(WORKING, number) == (128 + number, "cleared\n", f"{INTERRUPTED}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_that_is_done_is_not_interrupted(number):
    assert stopped(DONE, number) == (0, "cleared\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stderr", ["closed", "a pipe that nobody reads"])
def test_a_stage_needs_nobody_to_read_what_it_says(number, stderr):
    def start():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a shell ignores for what it starts in the background
        if stderr == "closed":
            os.close(2)

    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-c", WORKING],
        stdout=subprocess.PIPE,
        stderr=writing,
        text=True,
        preexec_fn=start,
    )
    os.close(writing)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(number)

    assert process.communicate(timeout=20)[0] == "cleared\n"
    assert process.returncode == 128 + number


def test_what_a_shell_keeps_from_the_background_is_kept():
    assert stopped(WORKING, signal.SIGINT, ignored=True) == (-signal.SIGKILL, "", "")


def test_a_stage_says_what_it_does_and_of_libraries_only_warnings():
    said = subprocess.run([sys.executable, "-c", SPEAKING], capture_output=True, text=True, check=True).stderr

    assert said.splitlines() == ["from __main__", "from brain_tumor.model.weights", "a warning"]


def test_a_defect_keeps_its_traceback():
    said = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, check=False).stderr

    assert said.startswith("Traceback")
    assert said.endswith("ValueError: a defect\n")
