"""The WebSocket to a program in a pod, against a server of this file that does what clusters rarely do."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ipytilt.core.spec import KubeContext
from ipytilt.engines.kubernetes.client import Client, Refused
from ipytilt.engines.kubernetes.exec import PodExec, exit_code_of
from ipytilt.engines.kubernetes.names import Place, place_of
from ipytilt.errors import Broke, TiltError, Unavailable
from tests.engines.contract import fails
from tests.support.waiting import eventually

PLACE = Place(KubeContext("here", "default", ""), "some", "web-1", "uid", "web", "docker://1")
FIN, TEXT, BINARY, MORE, CLOSE, PING = 0x80, 1, 2, 0, 8, 9


def frame(data: bytes, kind: int = BINARY, *, fin: int = FIN) -> bytes:
    """A frame as servers send it."""
    size = bytes((len(data),)) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")
    return bytes((fin | kind,)) + size + data


class Server:
    """Answers one request after the other on a port of its own; what it gets is kept."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.received = bytearray()
        self.answers: list[Callable[[socket.socket], None]] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def upgrade(self, *frames: bytes) -> None:
        """Answer the next request with a WebSocket that carries these frames, and keep what comes until its end."""

        def answer(connection: socket.socket) -> None:
            key = next(line for line in self.requests[-1].splitlines() if line.startswith("Sec-WebSocket-Key"))
            digest = hashlib.sha1(f"{key.split()[1]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()  # noqa: S324
            head = f"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n"
            connection.sendall(f"{head}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n".encode() + b"".join(frames))
            while data := connection.recv(65536):
                self.received += data

        self.answers.append(answer)

    def refuse(self, status: int, message: str) -> None:
        """Answer the next request with an error."""
        body = json.dumps({"kind": "Status", "status": "Failure", "message": message, "code": status})
        text = f"HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        self.answers.append(lambda connection: connection.sendall(text.encode()))

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(65536)
                self.requests.append(head.decode())
                self.answers.pop(0)(connection)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Iterator[Client]:
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.port}"}}],
        "users": [{"name": "me", "user": {"token": "open-sesame"}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    found = Client(KubeContext("here", "default", str(tmp_path / "config")))
    yield found
    found.close()


def run(client: Client, *argv: str, stdin: bool = True) -> PodExec:
    return PodExec(client, PLACE, argv or ("true",), stdin=stdin)


def test_an_id_leads_back_to_its_place() -> None:
    assert place_of(PLACE.id) == PLACE


def test_the_request_names_the_program_and_its_streams(server: Server, client: Client) -> None:
    server.upgrade(frame(b"", CLOSE))
    running = run(client, "sh", "-c", "echo $1 & wait", stdin=False)
    running.close()
    head = server.requests[0].splitlines()
    assert head[0].startswith("GET /api/v1/namespaces/some/pods/web-1/exec?container=web&command=sh&command=-c&")
    assert "command=echo+%241+%26+wait&stdout=true&stderr=true " in head[0]
    assert "authorization: Bearer open-sesame" in head
    assert "Sec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io" in head


def test_both_outputs_come_in_the_order_of_their_arrival(server: Server, client: Client) -> None:
    done = frame(b'\x03{"status": "Success"}')
    server.upgrade(
        frame(b"\x01"), frame(b"\x02"), frame(b"\x01out"), frame(b"\x02err"), frame(b"\x01" + b"x" * 300), done
    )
    running = run(client)
    said = bytearray()
    while len(said) < 306:
        said += running.receive(10)
    assert said == b"outerr" + b"x" * 300
    eventually(lambda: running.exit_code() == 0 or not _taken(running))
    running.close()


def _taken(running: PodExec) -> bytes:
    try:
        return running.receive(0)
    except TimeoutError:
        return b""


def test_frames_may_come_in_pieces_pings_are_answered_and_channels_closed(server: Server, client: Client) -> None:
    pieces = frame(b"\x01one ", fin=0) + frame(b"", PING) + frame(b"two ", MORE, fin=0) + frame(b"three", MORE)
    server.upgrade(pieces, frame(b"\xff\x01"), frame(b"\x03" + b'{"status": "Success"}'), frame(b"", CLOSE))
    running = run(client)
    said = bytearray()
    while data := running.receive(10):
        said += data
    assert said == b"one two three"
    assert running.exit_code() == 0
    running.close()
    eventually(lambda: server.received[:1] == bytes((FIN | 10,)))


def test_input_goes_out_masked_in_frames_of_its_channel(server: Server, client: Client) -> None:
    server.upgrade()
    running = run(client)
    running.send(b"a" * 100_000)
    running.close()
    eventually(lambda: len(server.received) > 100_000)
    received, contents = bytes(server.received), bytearray()
    while received:
        size, start = received[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(received[2 : 2 + width], "big"), 2 + width
        mask, data = received[start : start + 4], received[start + 4 : start + 4 + size]
        plain = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        assert (received[0], received[1] & 0x80, plain[0]) == (FIN | BINARY, 0x80, 0)
        contents += plain[1:]
        received = received[start + 4 + size :]
    assert contents == b"a" * 100_000


def test_another_thread_can_wake_whoever_waits(server: Server, client: Client) -> None:
    server.upgrade()
    running = run(client)
    timer = threading.Timer(0.2, running.abort)
    timer.start()
    assert running.receive() == b""
    with pytest.raises(BrokenPipeError):
        running.send(b"x")
    timer.join()
    running.close()


def test_silence_is_a_timeout(server: Server, client: Client) -> None:
    server.upgrade()
    running = run(client)
    with pytest.raises(TimeoutError):
        running.receive(0.01)
    running.close()


def test_nonsense_is_a_lost_connection(server: Server, client: Client) -> None:
    server.upgrade(b"\x7f\x01xxxxxxxx")
    running = run(client)
    with pytest.raises(ConnectionError):
        running.receive(10)
    running.close()


REFUSALS: list[tuple[int, type[TiltError], str]] = [
    (403, Refused, "no exec for you"),
    (500, Unavailable, "error dialing backend"),
    (200, Unavailable, "does not let WebSockets through (HTTP status 200)"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: str(refusal[0]))
def test_a_refusal_has_the_words_of_the_cluster(
    server: Server, client: Client, refusal: tuple[int, type[TiltError], str]
) -> None:
    status, kind, message = refusal
    server.refuse(status, message)
    with pytest.raises(kind) as caught:
        run(client)
    assert message in caught.value.message


def test_refused_credentials_are_read_anew_once(server: Server, client: Client) -> None:
    server.refuse(401, "Unauthorized")
    server.upgrade(frame(b"", CLOSE))
    run(client).close()
    assert len(server.requests) == 2


FAILURE = {"status": "Failure", "reason": "InternalError"}
NOT_FOUND = 'failed to exec in container: OCI runtime exec failed: exec: "sh": executable file not found in $PATH'
STATUSES: list[tuple[dict[str, object], int]] = [
    ({"status": "Success"}, 0),
    ({"status": "Failure", "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}}, 3),
    ({**FAILURE, "message": NOT_FOUND}, 127),  # containerd
    ({**FAILURE, "message": "executable file `sh` not found in $PATH: No such file or directory"}, 127),  # CRI-O
    ({**FAILURE, "message": 'exec: "/etc/passwd": permission denied: unknown'}, 126),
]


@pytest.mark.parametrize("status", STATUSES, ids=lambda status: str(status[1]))
def test_what_the_server_says_in_the_end_is_an_exit_code(status: tuple[dict[str, object], int]) -> None:
    said, code = status
    assert exit_code_of(json.dumps(said).encode()) == code


def test_a_lost_connection_has_no_exit_code() -> None:
    assert exit_code_of(b"") is None


def test_a_container_that_cannot_run_programs_is_broken() -> None:
    said = b'{"status": "Failure", "message": "container not running (0a1b)"}'
    with pytest.raises(Broke, match="not running"):
        exit_code_of(said)


def test_a_look_is_asked_for_again_if_the_server_had_hung_up_but_nothing_else(server: Server, client: Client) -> None:
    server.answers.append(lambda _: None)
    server.refuse(404, "no such pod")
    assert "no such pod" in fails(Refused, lambda: client.call("GET", "/pod")).message
    server.answers.append(lambda _: None)
    fails(Unavailable, lambda: client.call("POST", "/pod", body={}))
    assert [line.split()[0] for line in server.requests] == ["GET", "GET", "POST"]
