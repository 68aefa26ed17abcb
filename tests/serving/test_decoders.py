"""The processes that decode uploads, and a server that has slow files to decode."""

import asyncio
import http.client
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from made import raster
from serving import slow
from serving.slow import SLOW
from serving.tiny import READER, write_tiny_model

from brain_tumor.errors import UserError
from brain_tumor.serving import cli, decoders
from brain_tumor.serving.decoders import PROCESSES, Decoders

PROGRAM = f"import sys; sys.path.append({str(Path(__file__).parents[1])!r}); from serving import slow; slow.main()"


GOOD = raster("PNG", np.full((40, 50), 153, np.uint8))


def read(*contents):
    """What becomes of files that are sent one after another: how many pictures, or why none."""

    async def all_of_them():
        async with Decoders(READER) as made:
            answers = []
            for content in contents:
                try:
                    answers.append(len(await made.read(content, "application/octet-stream")))
                except UserError as error:
                    answers.append(str(error))
            return answers

    return asyncio.run(all_of_them())


def test_a_file_over_its_deadline_is_told_and_the_next_ones_are_read(monkeypatch):
    monkeypatch.setattr(decoders, "DEADLINE", 0.5)
    monkeypatch.setattr(decoders, "_read", slow.read)
    start = time.monotonic()

    *late, good = read(SLOW, SLOW, GOOD)

    assert all("more than 0.5 seconds" in answer for answer in late)
    assert good == 1
    assert time.monotonic() - start < 10


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_a_file_beyond_the_memory_is_told_and_the_next_ones_are_read(monkeypatch):
    monkeypatch.setattr(decoders, "MEMORY", 40_000_000)

    large, good = read(raster("PNG", np.zeros((7000, 7000), np.uint8)), GOOD)

    assert large.startswith("the file")
    assert "\n" not in large
    assert good == 1


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_file_that_ends_its_process_is_told_and_the_next_ones_are_read(monkeypatch):
    good = decoders._read
    with monkeypatch.context() as patch:
        patch.setattr(decoders, "_read", die)
        assert all("lost with the process" in answer for answer in read(*[GOOD] * (PROCESSES + 1)))
    assert decoders._read is good
    assert read(GOOD) == [1]


def test_processes_that_are_killed_from_outside_are_replaced():
    async def kill_and_ask():
        async with Decoders(READER) as made:
            for _ in range(2):
                for process in multiprocessing.active_children():
                    process.kill()
                await asyncio.sleep(0.5)
                assert len(await made.read(GOOD, "")) == 1

    asyncio.run(kill_and_ask())


def test_a_client_that_has_gone_frees_its_process(monkeypatch):
    monkeypatch.setattr(decoders, "_read", slow.read)

    async def leave_and_ask():
        async with Decoders(READER) as made:
            tasks = [asyncio.create_task(made.read(SLOW, "")) for _ in range(PROCESSES)]
            await asyncio.sleep(1)
            for task in tasks:
                task.cancel()
            start = time.monotonic()
            assert len(await made.read(GOOD, "")) == 1
            return time.monotonic() - start

    assert asyncio.run(leave_and_ask()) < 5


@contextmanager
def serving(tmp_path, *arguments):
    """A server in a process of its own, and the address that it prints."""
    model = write_tiny_model(tmp_path / "model.onnx")
    command = [sys.executable, "-c", PROGRAM, "serve", "--port", "0", "--model", str(model), *arguments]
    with TemporaryDirectory() as temporary:  # a short path, as those of sockets must be
        variables = os.environ | {"TMPDIR": temporary}
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables)
        server.temporary = Path(temporary)
        try:
            yield server, server.stdout.readline().split(" ")[0]
        finally:
            server.kill()
            server.communicate()


def ask(address, method="POST", path="/api/predict", content=GOOD):
    """Status and seconds of a request."""
    start = time.monotonic()
    connection = http.client.HTTPConnection(address.split("/")[2], timeout=60)
    connection.request(method, path, content)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status, time.monotonic() - start


def children(pid):
    """Of a process and below."""
    found = subprocess.run(["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True).stdout.split()
    return [int(child) for child in found] + [grandchild for child in found for grandchild in children(int(child))]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_address_is_printed_when_it_answers(tmp_path, host):
    with serving(tmp_path, "--host", host) as (_, address):
        assert address.startswith("http://[::1]:" if host == "::1" else "http://127.0.0.1:")
        assert ask(address, "GET", "/api/health")[0] == 200
        assert ask(address)[0] == 200
        assert ask(address, "HEAD", "/")[0] == 200


@pytest.mark.slow
def test_two_slow_files_hold_up_no_other_request(tmp_path):
    with serving(tmp_path) as (_, address):
        assert ask(address)[0] == 200
        late, good = [], []
        threads = [threading.Thread(target=lambda: late.append(ask(address, content=SLOW))) for _ in range(2)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            good.append(ask(address))
        assert [status for status, _ in late] == [422, 422]
        assert max(seconds for _, seconds in late) < 10
        assert {status for status, _ in good} == {200}
        assert max(seconds for _, seconds in good) < 2.5


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_slow_file_holds_up_no_end_and_leaves_no_process_and_no_file(tmp_path, stop):
    with serving(tmp_path) as (server, address):
        assert ask(address)[0] == 200
        head = f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(SLOW)}\r\n\r\n".encode()
        host, _, port = address.split("/")[2].rpartition(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(head + SLOW)
            time.sleep(1)
            below = children(server.pid)
            assert len(below) > PROCESSES
            start = time.monotonic()
            server.send_signal(stop)
            server.wait(10)
        assert time.monotonic() - start < 5
        assert list(server.temporary.iterdir()) == []
        end = time.monotonic() + 5
        while left := subprocess.run(["ps", "-o", "stat=", *map(str, below)], capture_output=True, text=True).stdout:
            if set(left.split()) <= {"Z"}:  # ended, and nobody has asked for their status
                break
            assert time.monotonic() < end, left


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--port", "99999"], "--port 99999: expected 0 to 65535"),
        (["--port", "-1"], "--port -1: expected 0 to 65535"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
        (["--host", "a" * 70], "--host aaa"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1"),
    ],
)
def test_a_place_that_cannot_be_listened_on_is_one_line(tmp_path, capsys, arguments, reason):
    model = write_tiny_model(tmp_path / "model.onnx")
    assert cli.main(["serve", "--model", str(model), *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {reason}")
    assert err.count("\n") == 1


def test_a_port_of_another_program_is_one_line_and_no_address(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        model = write_tiny_model(tmp_path / "model.onnx")
        assert cli.main(["serve", "--model", str(model), "--port", str(port)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"--port {port}: Address already in use" in err
    assert err.count("\n") == 1
