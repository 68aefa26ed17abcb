"""Thirty-two clients for a minute against `brain-tumor serve` on this machine, a quarter of them up to no good.

    python benchmarks/load.py FOLDER [--model FILE] [--seconds 60] [--clients 32]

FOLDER holds pictures. Of every eight clients six send pictures, one sends garbage and cut-off files, and one in turn
sends more than is taken, stops in the middle of a request, and leaves before its answer. Prints what became of the
requests, the latency of good ones, and the server's memory; the exit status is 1 where a good request failed, a bad one
did not get a 4xx, or memory grew. Reads memory from /proc, so it needs Linux.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from brain_tumor.serving.stream import expand
from brain_tumor.serving.web import MAX_UPLOAD

PICTURES = 200
GROWTH = 1.1
"""The largest memory of the last third may be this much of that of the second; the first warms up."""


class Tally:
    """What all clients have seen."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def add(self, kind: str, outcome: str, right: bool, seconds: float | None = None) -> None:
        """One request."""
        with self._lock:
            self.outcomes[f"{kind}: {outcome}"] += 1
            if not right:
                self.wrong.append(f"{kind}: {outcome}")
            if seconds is not None:
                self.latencies.append(seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--model")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    args = parser.parse_args()
    every = list(expand([args.folder]))
    contents = [path.read_bytes() for path in every[:: max(1, len(every) // PICTURES)][:PICTURES]]
    port = free_port()
    program = "import sys; from brain_tumor.serving.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "serve", "--port", str(port)]
    server = subprocess.Popen([*command, *(["--model", args.model] if args.model else [])], stdout=subprocess.DEVNULL)
    try:
        wait_for(server, port)
        tally, memory = Tally(), list[float]()
        end = time.monotonic() + args.seconds
        clients = [
            threading.Thread(target=client, args=(number, port, contents, end, tally)) for number in range(args.clients)
        ]
        for thread in clients:
            thread.start()
        while time.monotonic() < end:
            memory.append(megabytes(server.pid))
            time.sleep(0.5)
        for thread in clients:
            thread.join()
        return report(tally, memory, args.seconds)
    finally:
        server.terminate()
        server.wait()


def client(number: int, port: int, contents: list[bytes], end: float, tally: Tally) -> None:
    """One client, one request after the other."""
    chance = random.Random(number)
    kinds = itertools.cycle(BAD.get(number % 8, [good]))
    while time.monotonic() < end:
        next(kinds)(port, chance.choice(contents), chance, tally)


def good(port: int, content: bytes, _: random.Random, tally: Tally) -> None:
    """A picture, which must get an answer."""
    start = time.perf_counter()
    try:
        status, body = post(port, content)
        right = status == 200 and bool(json.loads(body)["pictures"])
        tally.add("picture", f"{status}", right, time.perf_counter() - start)
    except (OSError, http.client.HTTPException, ValueError) as error:
        tally.add("picture", type(error).__name__, False)


def garbage(port: int, _: bytes, chance: random.Random, tally: Tally) -> None:
    """Bytes that are nothing."""
    expect_refusal("garbage", port, chance.randbytes(chance.randrange(1, 100_000)), tally)


def cut_off(port: int, content: bytes, chance: random.Random, tally: Tally) -> None:
    """A file that ends in its first half."""
    expect_refusal("cut-off file", port, content[: chance.randrange(20, len(content) // 2)], tally)


def oversized(port: int, _: bytes, __: random.Random, tally: Tally) -> None:
    """More than is taken, without telling its length; the server may close before all is sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"100000\r\n" + bytes(2**20) + b"\r\n"
        with contextlib.suppress(ConnectionError):
            for _block in range(MAX_UPLOAD // 2**20 + 2):
                connection.sendall(block)
        try:
            outcome = connection.recv(12)[9:].decode() or "closed"
        except ConnectionError:
            outcome = "closed"
    tally.add("oversized", outcome, outcome in ("413", "503", "closed"))


def stalled(port: int, content: bytes, _: random.Random, tally: Tally) -> None:
    """A request whose second half never comes; waits until the server has had enough."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        head = f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content[: len(content) // 2])
        try:
            status = connection.recv(12)[9:].decode() or "closed"
        except ConnectionError:
            status = "closed"
        except TimeoutError:
            status = "still waiting after 60 s"
    tally.add("stalled", status, status in ("408", "closed"))


def gone(port: int, content: bytes, _: random.Random, tally: Tally) -> None:
    """A whole request, whose client does not wait for the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        head = f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)
    tally.add("gone", "left", True)


BAD: dict[int, list[Callable[[int, bytes, random.Random, Tally], None]]] = {
    6: [garbage, cut_off],
    7: [oversized, stalled, gone],
}
"""What two of every eight clients send, in turn."""


def expect_refusal(kind: str, port: int, content: bytes, tally: Tally) -> None:
    """Send a bad file, which must get a 422 with a sentence."""
    try:
        status, body = post(port, content)
        tally.add(kind, f"{status}", status == 422 and bool(json.loads(body)["detail"]))
    except (OSError, http.client.HTTPException, ValueError) as error:
        tally.add(kind, type(error).__name__, False)


def post(port: int, content: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a file, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/api/predict?images=true", content)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def report(tally: Tally, memory: list[float], seconds: float) -> int:
    """Print what was seen; returns the exit status."""
    for outcome, count in sorted(tally.outcomes.items()):
        print(f"{count:7,}  {outcome}")
    answered = np.array(tally.latencies)
    if len(answered):
        shown = ", ".join(f"{share} % {1000 * np.percentile(answered, share):.0f}" for share in (50, 90, 99, 100))
        print(f"pictures answered: {len(answered) / seconds:.1f} a second; latency in ms: {shown}")
    third = len(memory) // 3
    first, second, last = (max(part) for part in (memory[:third], memory[third : 2 * third], memory[2 * third :]))
    print(f"largest memory of the server in each third, MB: {first:.0f}, {second:.0f}, {last:.0f}")
    problems = sorted(set(tally.wrong))
    if not len(answered):
        problems.append("no picture was answered")
    if last > GROWTH * second:
        problems.append("memory grew")
    for problem in problems:
        print(f"wrong: {problem}")
    return int(bool(problems))


def megabytes(process: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


def wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server listens."""
    while server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit(server.returncode)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
