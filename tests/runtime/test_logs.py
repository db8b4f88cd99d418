"""The log rings: numbering, limits, cleaning, redaction, wake-ups, many threads at once."""

from __future__ import annotations

import base64
import threading

import pytest

from ipytilt.core.events import ErrorInfo, Failed, Ok
from ipytilt.core.steps import Applied, Built, Container
from ipytilt.runtime.logs import ALL, PAGE_LINES, Line, Logs


def texts(lines: list[Line]) -> list[str]:
    return [line.text for line in lines]


def test_lines_keep_their_number_level_span_and_time() -> None:
    logs = Logs(clock=lambda: 12.5)
    logs.append("api", "one\ntwo\n", level="warning", span="build:1")
    logs.append("web", "three")
    assert logs.since("api", 1) == (1, [Line(12.5, "warning", "build:1", "two", "api")])
    assert texts(logs.since(ALL, 0)[1]) == ["one", "two", "three"]
    assert logs.heads() == {ALL: (0, 3), "api": (0, 2), "web": (0, 1)}
    assert repr(logs) == "<Logs {'all': 3, 'api': 2, 'web': 1}>"


def test_what_concerns_no_resource_stands_in_the_common_stream_once() -> None:
    logs = Logs()
    logs.append(ALL, "docker is away")
    assert logs.heads() == {ALL: (0, 1)}


def test_a_stream_nobody_wrote_to_is_empty() -> None:
    logs = Logs()
    assert logs.since("api", 0) == (0, [])
    assert logs.page("api", 3) == (0, [])
    assert logs.end("api") == 0
    assert logs.tail("api", 10) == []


def test_the_oldest_lines_go_and_a_loud_resource_leaves_the_quiet_one_alone() -> None:
    logs = Logs(limit_bytes=10_000)
    logs.append("quiet", "hello")
    for number in range(1_000):
        logs.append("loud", f"line {number}")
    first, end = logs.heads()["loud"]
    assert end == 1_000
    assert 60 < end - first < 200
    assert texts(logs.since("loud", first)[1])[0] == f"line {first}"
    assert logs.since("loud", 0)[0] == first
    assert texts(logs.tail("quiet", 5)) == ["hello"]


def test_pages_are_cut_at_fixed_numbers() -> None:
    logs = Logs()
    logs.append("api", "\n".join(str(number) for number in range(PAGE_LINES + 2)))
    first, lines = logs.page("api", 1)
    assert (first, texts(lines)) == (PAGE_LINES, ["500", "501"])
    assert texts(logs.tail("api", 2)) == ["500", "501"]
    assert logs.since("api", 10, stop=5) == (10, [])


@pytest.mark.parametrize(
    "raw, shown",
    [
        ("", ""),
        ("\x1b[1;31mred\x1b[0m text", "red text"),
        ("10 %\r20 %\r", "20 %"),
        ("windows\r", "windows"),
        ("\x1b]0;title\x07prompt", "prompt"),
        ("a\tb", "a\tb"),
        ("bell\x07 and null\x00", "bell and null"),
        ("abc\u202edcba", "abcdcba"),
        ("größe ✓", "größe ✓"),
    ],
)
def test_text_is_what_a_terminal_would_show(raw: str, shown: str) -> None:
    logs = Logs()
    logs.append("api", raw)
    assert texts(logs.tail("api", 9)) == [shown]


def test_a_line_is_bounded_and_says_so() -> None:
    logs = Logs()
    logs.append("api", "x" * 10_000)
    assert logs.tail("api", 1)[0].text.endswith("x … (1808 more characters)")


def test_secrets_are_replaced_from_here_on_and_in_what_is_there() -> None:
    logs = Logs()
    encoded = base64.b64encode(b"abcde").decode()
    logs.append("api", f"was abcde, was {encoded}, tiny abc")
    before = logs.revision
    logs.redact({"abcde": "[redacted secret db:password]", "tiny": "no"})
    logs.append("web", "now abcde")
    mark = "[redacted secret db:password]"
    assert texts(logs.since(ALL, 0)[1]) == [f"was {mark}, was {mark}, tiny abc", f"now {mark}"]
    assert texts(logs.tail("api", 1)) == [f"was {mark}, was {mark}, tiny abc"]
    assert logs.revision > before
    assert logs.scrub("x-abcde-y") == f"x-{mark}-y"


def test_a_secret_of_several_lines_is_replaced_line_by_line() -> None:
    logs = Logs()
    logs.redact({"-----BEGIN KEY-----\nMIIEow\n{\n": "[key]"})
    logs.append("api", "MIIEow\n{")
    assert texts(logs.since("api", 0)[1]) == ["[key]", "{"]


def test_facts_lose_secrets_in_what_is_said_and_keep_their_names() -> None:
    logs = Logs()
    logs.redact({"secret": "[s]"})
    outcome = Failed(ErrorInfo("bad secret", text="secret!"), "rejected", (Built("secret", "secret:1"),), ("secret",))
    assert logs.without_secrets(outcome) == Failed(
        ErrorInfo("bad [s]", text="[s]!"), "rejected", (Built("secret", "secret:1"),), ("secret",)
    )
    crashed = Container("secret", "a", "a", "exited", error="no secret")
    applied = Ok(
        applied=(Applied("a", (crashed,)),), user_error="secret: exit 1", unmet=(("c", (("echo", "secret"),)),)
    )
    clean = logs.without_secrets(applied)
    assert (clean.user_error, clean.applied[0].containers[0].error) == ("[s]: exit 1", "no [s]")
    assert clean.unmet == applied.unmet  # is to be run again
    assert logs.without_secrets(None) is None


def test_the_longest_secret_wins_and_a_cut_never_leaves_half_of_one() -> None:
    logs = Logs()
    logs.redact({"hunter": "[short]", "hunter2hunter2": "[long]"})
    logs.append("api", "hunter2hunter2")
    logs.append("api", "x" * 8_190 + "hunter")
    assert texts(logs.since("api", 0)[1])[0] == "[long]"
    assert "hun" not in logs.tail("api", 1)[0].text


def test_learning_nothing_new_leaves_readers_alone() -> None:
    logs = Logs()
    logs.append("api", "nothing here")
    logs.redact({"secret": "[s]"})
    revision = logs.revision
    logs.redact({"secret": "[s]"})
    assert revision == logs.revision == 0


def test_readers_are_woken_until_they_leave() -> None:
    logs, wake = Logs(), threading.Event()
    logs.wake(wake)
    logs.append("api", "x")
    assert wake.is_set()
    wake.clear()
    logs.redact({"secret": "[s]"})
    assert wake.is_set()
    logs.unwake(wake)
    wake.clear()
    logs.append("api", "y")
    assert not wake.is_set()


def test_many_threads_lose_nothing_and_no_secret_slips_through() -> None:
    logs = Logs()
    start = threading.Barrier(5)

    def write(name: str) -> None:
        start.wait()
        for number in range(2_000):
            logs.append(name, f"{number} password")

    writers = [threading.Thread(target=write, args=(f"r{index}",)) for index in range(4)]
    for writer in writers:
        writer.start()
    start.wait()
    logs.redact({"password": "[s]"})
    for writer in writers:
        writer.join()
    assert logs.end(ALL) == 8_000
    for index in range(4):
        assert texts(logs.since(f"r{index}", 0)[1]) == [f"{number} [s]" for number in range(2_000)]
