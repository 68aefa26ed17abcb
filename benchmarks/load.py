"""Thirty-two clients for a minute against `brain-tumor serve` on this machine; a quarter of them misbehaves.

    python benchmarks/load.py FOLDER [--model FILE] [--seconds 60] [--clients 32] [--bombs BOMBS]

FOLDER holds images. Of every eight clients six send images, one sends garbage and cut-off files, and one in turn sends
too much, stops in the middle of a request, leaves before its answer, and sends a file of the folder BOMBS. The exit
status is 1 where a good request failed or took 5 s, a bad one did not get its 4xx, memory grew, or the server took 5 s
to end. Reads memory, with that of the processes that decode, from /proc, so it needs Linux.
"""

import argparse
import contextlib
import functools
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

IMAGES = 200
LONGEST = 5.0
"""Seconds that a good request, and the end of the server, may take."""

GROWTH = 1.1
"""The memory of the last third may be this much of that of the second; the first warms up."""


class Tally:
    """Outcomes of all requests, and seconds of the good ones."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.outcomes: Counter[tuple[str, bool]] = Counter()
        self._lock = threading.Lock()

    def add(self, kind: str, outcome: object, expected: bool) -> None:
        with self._lock:
            self.outcomes[f"{kind}: {outcome}", expected] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--model")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--bombs", type=Path, help="a folder of files that the server must refuse")
    args = parser.parse_args()
    if args.bombs:
        BAD[7].append(functools.partial(bomb, [path.read_bytes() for path in sorted(args.bombs.iterdir())]))
    every = list(expand([args.folder]))
    contents = [path.read_bytes() for path in every[:: max(1, len(every) // IMAGES)][:IMAGES]]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
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
        start = time.monotonic()
        server.terminate()
        server.wait(60)
        return report(tally, memory, args.seconds, time.monotonic() - start)
    finally:
        server.kill()


def client(number: int, port: int, contents: list[bytes], end: float, tally: Tally) -> None:
    """One client, one request after the other."""
    chance = random.Random(number)
    kinds = itertools.cycle(BAD.get(number % 8, [good]))
    while time.monotonic() < end:
        next(kinds)(port, chance.choice(contents), chance, tally)


def good(port: int, content: bytes, _: random.Random, tally: Tally) -> None:
    """An image, which must get an answer."""
    start = time.perf_counter()
    expect("image", port, content, 200, "pictures", tally)
    tally.latencies.append(time.perf_counter() - start)


def garbage(port: int, _: bytes, chance: random.Random, tally: Tally) -> None:
    expect("garbage", port, chance.randbytes(chance.randrange(1, 100_000)), 422, "detail", tally)


def cut_off(port: int, content: bytes, chance: random.Random, tally: Tally) -> None:
    """A file that ends in its first half."""
    expect("cut-off file", port, content[: chance.randrange(20, len(content) // 2)], 422, "detail", tally)


def expect(kind: str, port: int, content: bytes, status: int, field: str, tally: Tally) -> None:
    """Send a file on a connection of its own; the answer must have this status and a `field` that is not empty."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/api/predict?images=true", content)
        response = connection.getresponse()
        body = json.loads(response.read())
        tally.add(kind, response.status, response.status == status and bool(body[field]))
    except (OSError, http.client.HTTPException, ValueError) as error:
        tally.add(kind, type(error).__name__, False)
    finally:
        connection.close()


def oversized(port: int, _: bytes, __: random.Random, tally: Tally) -> None:
    """More than the server takes, without its length; it may close before all is sent."""
    with begun(port, "Transfer-Encoding: chunked") as connection:
        block = b"100000\r\n" + bytes(2**20) + b"\r\n"
        with contextlib.suppress(ConnectionError):
            for _block in range(MAX_UPLOAD // 2**20 + 2):
                connection.sendall(block)
        outcome = status_of(connection)
    tally.add("oversized", outcome, outcome in ("413", "503", "closed"))


def stalled(port: int, content: bytes, _: random.Random, tally: Tally) -> None:
    """A request whose second half never comes."""
    with begun(port, f"Content-Length: {len(content)}") as connection:
        connection.sendall(content[: len(content) // 2])
        outcome = status_of(connection)
    tally.add("stalled", outcome, outcome in ("408", "closed"))


def gone(port: int, content: bytes, _: random.Random, tally: Tally) -> None:
    """A whole request, whose client does not wait for the answer."""
    with begun(port, f"Content-Length: {len(content)}") as connection:
        connection.sendall(content)
    tally.add("gone", "left", True)


def bomb(files: list[bytes], port: int, _: bytes, chance: random.Random, tally: Tally) -> None:
    """A small file that would take long or much memory."""
    content = chance.choice(files)
    with begun(port, f"Content-Length: {len(content)}") as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(content)
        outcome = status_of(connection)
    tally.add("bomb", outcome, outcome in ("413", "422", "503", "closed"))


def begun(port: int, header: str) -> socket.socket:
    """A connection that has sent the head of a request."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode())
    return connection


def status_of(connection: socket.socket) -> str:
    """The status of the answer, or what came in its place within a minute."""
    try:
        return connection.recv(12)[9:].decode() or "closed"
    except ConnectionError:
        return "closed"
    except TimeoutError:
        return "still waiting after 60 s"


BAD: dict[int, list[Callable[[int, bytes, random.Random, Tally], None]]] = {
    6: [garbage, cut_off],
    7: [oversized, stalled, gone],
}
"""What two of every eight clients send, in turn."""


def report(tally: Tally, memory: list[float], seconds: float, end: float) -> int:
    """Print the outcomes, the latency of good requests, the server's memory and how long it took to end.

    Returns:
        The exit status.
    """
    for (outcome, expected), count in sorted(tally.outcomes.items()):
        print(f"{count:7,}  {outcome}{'' if expected else '  WRONG'}")
    shown = ", ".join(f"{share} % {1000 * np.percentile(tally.latencies, share):.0f}" for share in (50, 90, 99, 100))
    print(f"images answered: {len(tally.latencies) / seconds:.1f} a second; latency in ms: {shown}")
    first, second, last = (float(np.median(third)) for third in np.array_split(memory, 3))
    print(f"memory in MB, median of each third: {first:.0f}, {second:.0f}, {last:.0f}; at most {max(memory):.0f}")
    print(f"seconds from SIGTERM to the end: {end:.1f}")
    faults = {
        "memory grew": last > GROWTH * second,
        "an image took too long": max(tally.latencies) > LONGEST,
        "the end took too long": end > LONGEST,
    }
    for fault in (name for name, found in faults.items() if found):
        print(f"WRONG: {fault}")
    return int(any(faults.values()) or not all(expected for _, expected in tally.outcomes))


def megabytes(process: int) -> float:
    """Memory of a process and of those that it started; what they share counts once."""
    total = 0.0
    with contextlib.suppress(OSError):  # one that decodes may end at any time
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
        total = sum(megabytes(int(child)) for child in children)
        status = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        total += int(status.partition("Pss:")[2].split()[0]) / 1000
    return total


def wait_for(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server listens."""
    while server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit(server.returncode)


if __name__ == "__main__":
    sys.exit(main())
