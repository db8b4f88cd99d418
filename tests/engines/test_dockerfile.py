"""Dockerfiles as text. Runs on pytest's thread."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ipytilt.engines.dockerfile import (
    DockerfileError,
    Heredoc,
    arguments_before_from,
    assignments,
    built_as,
    expand,
    from_parts,
    parse,
    replace_images,
    words,
)


def test_instructions_know_their_lines() -> None:
    text = (
        '# syntax=docker/dockerfile:1\n\nFROM a\n# note\nrun one \\\n  # in between\n\n  && two\n\tCMD ["x", "y z"]\n'
    )
    assert [(each.word, each.rest, each.line, each.end) for each in parse(text)] == [
        ("FROM", "a", 3, 3),
        ("RUN", "one   && two", 5, 8),
        ("CMD", '["x", "y z"]', 9, 9),
    ]
    assert parse(text)[2].argv == ("x", "y z")


def test_flags_are_told_from_arguments() -> None:
    (copy,) = parse("COPY --from=build --chmod=755 --link a --b /c")
    assert copy.flags == (("from", "build"), ("chmod", "755"), ("link", ""))
    assert copy.rest == "a --b /c"
    assert copy.flag("from") == "build"
    assert copy.flag("chown") == ""


def test_what_is_no_json_list_of_words_is_shell_form() -> None:
    assert [each.argv for each in parse("CMD [a]\nCMD [1]\nCMD [\nCMD []")] == [None, None, None, ()]


def test_another_escape_character() -> None:
    (run,) = parse("# escape=`\nRUN a `\n b\\")
    assert run.rest == "a  b\\"


def test_heredocs() -> None:
    text = "RUN <<EOF\n\techo $a\nEOF\nCOPY <<-'ONE' <<TWO /x/\n\tfirst\n\tONE\nsecond\nTWO\nCMD x"
    run, copy, cmd = parse(text)
    assert run.heredocs == (Heredoc("EOF", "\techo $a\n", expands=True),)
    assert copy.heredocs == (Heredoc("ONE", "first\n", expands=False), Heredoc("TWO", "second\n", expands=True))
    assert (copy.line, copy.end, cmd.line) == (4, 8, 9)


@pytest.mark.parametrize(
    "text,message,line",
    [
        ("", "file with no instructions", 0),
        ("# nothing\n", "file with no instructions", 0),
        ("FROM a\nRUN", "RUN requires at least one argument", 2),
        ("FROM a\n\nCOPY <<EOF /x\nabc", "here-document EOF does not end", 3),
    ],
)
def test_wrong_text(text: str, message: str, line: int) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text)
    assert (str(caught.value), caught.value.line) == (message, line)


@pytest.mark.parametrize(
    "text,expected",
    [
        ("$a-${a}", "1-1"),
        ("\\$a '$a' \"$a\"", "$a $a 1"),
        ('"a \\"b\\" \\$a \\n"', 'a "b" $a \\n'),
        ("${no:-x}${empty:-y}${empty-z}", "xy"),
        ("${a:+yes}${no+yes}${empty:+yes}${empty+set}", "yesset"),
        ("${no:-${a}}", "1"),
        ("x${no}y$", "xy$"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"a": "1", "empty": ""}) == expected


def test_expansion_may_demand_a_value() -> None:
    with pytest.raises(DockerfileError, match="no: please set it"):
        expand("${no:?please set it}", {})


def test_words_keep_quoted_blanks_and_values_together() -> None:
    assert words("a  'b c'd $x \"\" e\\ f", {"x": "1 2"}) == ["a", "b cd", "1 2", "", "e f"]


def test_assignments() -> None:
    assert assignments('a=1 b="2 3" c=$a', {"a": "0"}) == [("a", "1"), ("b", "2 3"), ("c", "0")]
    assert assignments("PATH /x:$PATH and more", {"PATH": "/bin"}) == [("PATH", "/x:/bin and more")]


@pytest.mark.parametrize("text", ["alone", "a=1 b"])
def test_assignments_need_values(text: str) -> None:
    with pytest.raises(DockerfileError):
        assignments(text, {})


def test_arguments_before_the_first_from() -> None:
    instructions = parse("ARG tag=1\nARG full=web:$tag\nARG none\nFROM $full\nARG late=1")
    assert arguments_before_from(instructions, {}) == {"tag": "1", "full": "web:1"}
    assert arguments_before_from(instructions, {"tag": "2", "none": "x"}) == {"tag": "2", "full": "web:2", "none": "x"}


def test_stages() -> None:
    plain, named, bad = parse("FROM --platform=$P a\nFROM a As Build\nFROM a b")
    assert from_parts(plain, {}) == ("a", "")
    assert from_parts(named, {}) == ("a", "build")
    with pytest.raises(DockerfileError):
        from_parts(bad, {})


@pytest.mark.parametrize(
    "named,images,expected",
    [
        ("web", {"web": "web:tilt-1"}, "web:tilt-1"),
        ("docker.io/library/web:2", {"web": "web:tilt-1"}, "web:tilt-1"),
        ("web:2", {"web:1": "web:tilt-1"}, ""),
        ("other", {"web": "web:tilt-1"}, ""),
        ("Not A Reference", {"web": "web:tilt-1"}, ""),
    ],
)
def test_what_a_reference_was_built_as(named: str, images: Mapping[str, str], expected: str) -> None:
    assert built_as(named, images) == expected


def test_replacing_images_keeps_the_lines() -> None:
    text = (
        "ARG base=web\nFROM $base AS web2\nFROM --platform=linux/amd64 \\\n  web:1 AS two\n"
        "COPY --from=web /web web\nCOPY --from=two /web web\nFROM other\n"
    )
    assert replace_images(text, {"web": "web:tilt-1"}, {}) == (
        "ARG base=web\nFROM web:tilt-1 AS web2\nFROM --platform=linux/amd64 \\\n  web:tilt-1 AS two\n"
        "COPY --from=web:tilt-1 /web web\nCOPY --from=two /web web\nFROM other\n"
    )
