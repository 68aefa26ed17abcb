import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from brain_tumor.serving.connections import Full, Patience, Room


class Hasty(Patience):
    header_seconds = 0.2
    answer_seconds = 0.6


async def slow_or_not(scope, receive, send):
    """Answers /slow only to a client that sends its whole body."""
    if scope["type"] != "http":
        return
    more = scope["path"] == "/slow"
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": json.dumps("ok").encode()})


@contextmanager
def running():
    config = uvicorn.Config(slow_or_not, port=0, log_level="error", lifespan="off", http=Hasty, timeout_keep_alive=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def closed_after(port, sent, limit=5):
    """Seconds until the server closes a connection on which so much was sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=limit) as client:
        client.sendall(sent)
        start = time.perf_counter()
        try:
            while client.recv(1000):
                pass
        except ConnectionResetError:
            pass
        return time.perf_counter() - start


@pytest.mark.parametrize(
    ("sent", "at_least"),
    [
        (b"", 0.2),
        (b"GET / HTTP/1.1\r\nHost: local", 0.2),
        (b"POST /slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc", 0.6),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTT", 0.2),  # a whole request, then a part of one
    ],
)
def test_a_client_that_stalls_is_let_go_after_its_time(sent, at_least):
    with running() as (server, port):
        assert at_least <= closed_after(port, sent) < 4
        assert not server.server_state.connections


def test_a_client_that_comes_to_the_point_is_served_again_and_again():
    with running() as (_, port), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        for _ in range(8):  # longer in all than either limit
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while b'"ok"' not in answer:
                received = client.recv(1000)
                assert received
                answer += received
            time.sleep(0.1)


def test_room_is_shared_and_given_back():
    room = Room(100)
    with room.held() as first, room.held() as second:
        first(60)
        second(40)
        with pytest.raises(Full):
            second(1)
        assert room.free == 0
    assert room.free == 100

    with pytest.raises(Full), room.held() as take:
        take(101)
    assert room.free == 100
