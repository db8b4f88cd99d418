"""The shell command, as a process: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import ipytilt
from tests.support import eventually
from tests.support.processes import alive
from tests.support.project import TILTFILE, Project

COMMAND = [sys.executable, "-m", "ipytilt.cli"]


def ran(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run([*COMMAND, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_version(tmp_path: Path) -> None:
    assert ran(tmp_path, "--version").stdout == f"ipytilt {ipytilt.__version__}\n"


def test_a_good_tiltfile_is_printed_as_json(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text(
        "config.define_string('x', args=True)\nlocal_resource(config.parse()['x'], 'ls')"
    )
    done = ran(tmp_path, "tiltfile-result", "--", "named")
    document = json.loads(done.stdout)
    assert (done.returncode, document["error"]) == (0, None)
    assert [r["name"] for r in document["resources"]] == ["named"]


def test_a_bad_tiltfile_is_printed_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("\nfail('on purpose')")
    done = ran(tmp_path, "tiltfile-result")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["line"]) == (5, 2)
    assert "on purpose" in error["message"]


@pytest.mark.parametrize(
    "words",
    [
        ("tiltfile-result",),
        ("up",),
        ("up", "--engine", "moon"),
        ("up", "--rest", "web=soon"),
        ("down", "nowhere"),
        ("explain",),
        ("explain", "x"),
        ("dance",),
        (),
    ],
)
def test_wrong_words_are_answered_without_a_traceback(words: tuple[str, ...], tmp_path: Path) -> None:
    done = ran(tmp_path, *words)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_up_prints_the_log_until_it_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local_resource('hello', 'echo it runs', serve_cmd='sleep 1234.5')")
    child = subprocess.Popen(
        [*COMMAND, "up", "--engine", "sandbox"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stderr
    assert any("it runs" in line for line in child.stdout)
    child.send_signal(signal.SIGINT)
    assert "ipytilt down takes them down" in child.communicate(timeout=30)[1]
    assert child.returncode == 0


def test_an_unknown_engine_in_the_environment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Tiltfile").write_text("")
    monkeypatch.setenv("IPYTILT_ENGINE", "moon")
    for word in ("up", "down"):
        done = ran(tmp_path, word)
        assert (done.returncode, "IPYTILT_ENGINE=moon: unknown engine" in done.stderr) == (2, True)


def test_explain_names_the_rule_and_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("\nlocal_resource('lint', 'touch ran', deps=['src'])")
    done = ran(tmp_path, "explain", "src/a.py")
    assert done.stdout.startswith("If src/a.py changed:\nlint: command")
    assert "Tiltfile:2" in done.stdout
    assert "reload" in ran(tmp_path, "explain", "Tiltfile").stdout
    assert "would do nothing" in ran(tmp_path, "explain", "/elsewhere").stdout
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("words", [("explain", "x"), ("down", "--engine", "sandbox")])
def test_a_mistake_in_the_tiltfile_is_shown_with_its_line(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("x = 1\nnope()")
    done = ran(tmp_path, *words)
    assert done.returncode == 5
    assert "Tiltfile:2" in done.stderr
    assert "   2 | nope()" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_evaluation_ends_with_its_command(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local('touch begun; echo $$ >pid; exec sleep 1235')")
    child = subprocess.Popen([*COMMAND, "tiltfile-result"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), timeout=30)
    pid = int((tmp_path / "pid").read_text())
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=30)[1] == ""
    assert child.returncode == 130
    eventually(lambda: not alive(pid))


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local_resource('loud', serve_cmd='while :; do echo loud; done')")
    with subprocess.Popen(
        [*COMMAND, "up", "Tiltfile", "--engine", "sandbox"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout
        assert child.stderr
        assert child.stdout.readline()
        child.stdout.close()
        assert "Traceback" not in child.stderr.read()


# What `ipytilt ci` finds, and how it ends: the Tiltfile, more words, exit status, what is said.
CI = {
    "all goes well": (
        """
local_resource('gen', 'echo made >made')
local_resource('srv', serve_cmd='sleep 1236', resource_deps=['gen'],
               readiness_probe=probe(exec=exec_action(['true'])))
local_resource('helper', 'touch helped', auto_init=False)
local_resource(config.tilt_subcommand, 'true')
""",
        (),
        0,
        "SUCCESS. All workloads are healthy.",
    ),
    "a command fails": ("local_resource('gen', 'echo no luck; exit 3')", (), 1, "gen:update: "),
    "a server ends": (
        "local_resource('srv', serve_cmd='exit 4', readiness_probe=probe(exec=exec_action(['false'])))",
        (),
        1,
        "exited with non-zero status",
    ),
    "the time is over": ("local_resource('slow', 'sleep 1237')", ("--timeout", "0.5"), 1, "Timeout after 500 ms"),
    "it never gets ready": (
        """
ci_settings(readiness_timeout='1s')
local_resource('srv', serve_cmd='sleep 1238', readiness_probe=probe(exec=exec_action(['false'])))
""",
        (),
        1,
        'Readiness timeout after 1.0 s: target "srv:serve" not ready',
    ),
    "nothing is asked for": ("", (), 1, "asks for nothing"),
    "the Tiltfile is wrong": ("fail('on purpose')", (), 5, "on purpose"),
    "arguments": (
        "config.define_string('x', args=True)\nlocal_resource(config.parse()['x'], 'exit 1')",
        ("--", "named"),
        1,
        "named:update: ",
    ),
    "no time to wait": ("", ("--timeout", "-1"), 2, "-1 is no time to wait"),
    "only what is named": (
        "local_resource('a', 'true')\nlocal_resource('b', 'true', resource_deps=['a'])\nlocal_resource('c', 'exit 1')",
        ("b",),
        0,
        "SUCCESS. All workloads are healthy.",
    ),
    "a name of nobody": ("local_resource('a', 'true')", ("Tiltfile", "b"), 5, 'could not be found: "b"'),
    "a Tiltfile by flag": ("local_resource('a', 'true')", ("-f", "Tiltfile", "a"), 0, "SUCCESS"),
}


@pytest.mark.parametrize("name", CI)
def test_ci_ends_with_the_verdict(name: str, tmp_path: Path) -> None:
    text, words, status, said = CI[name]
    (tmp_path / "Tiltfile").write_text(text)
    done = ran(tmp_path, "ci", "--engine", "sandbox", *words)
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "helped").exists()


@pytest.mark.parametrize("text, status", [("local_resource('a', 'echo said')", 0), ("fail('on purpose')", 5)])
def test_ci_leaves_a_snapshot(text: str, status: int, tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text(text)
    done = ran(tmp_path, "ci", "--engine", "sandbox", "--output-snapshot-on-exit", "shot.json")
    shot = json.loads((tmp_path / "shot.json").read_text())
    assert (done.returncode, shot["view"]["order"]) == (status, [] if status else ["a"])
    assert any("on purpose" in line["text"] or line["text"] == "said" for line in shot["log"])


def test_an_interrupted_ci_ends_with_what_it_started(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local_resource('slow', 'echo $$ >pid; exec sleep 1239')")
    child = subprocess.Popen([*COMMAND, "ci", "--engine", "sandbox"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), timeout=30)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) == 130
    eventually(lambda: not alive(int((tmp_path / "pid").read_text())))


@pytest.mark.docker
@pytest.mark.compose
def test_down_takes_down_what_an_earlier_up_has_left(tmp_path: Path) -> None:
    folder = tmp_path / f"cli{os.getpid()}"
    project = Project(folder, "docker")
    (folder / "Tiltfile").write_text(TILTFILE)
    project.up()
    name = project.container().name
    assert project.session.stop() == ()
    listed = ["docker", "ps", "-aq", "--filter", f"name={name}"]
    assert subprocess.run(listed, capture_output=True, check=True).stdout
    done = ran(folder, "down")
    assert (done.returncode, f"Removing container {name}" in done.stdout) == (0, True)
    assert not subprocess.run(listed, capture_output=True, check=True).stdout


def test_lint_complains_by_its_exit_code_too(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local_resource('a', 'ls', deps=['nope'])")
    done = ran(tmp_path, "lint")
    assert done.returncode == 1
    assert done.stdout.startswith("Tiltfile:1: deps of a: there is no")
    (tmp_path / "nope").touch()
    done = ran(tmp_path, "lint", "Tiltfile")
    assert (done.returncode, done.stdout) == (0, "Nothing to complain about.\n")
    (tmp_path / "Tiltfile").write_text("fail('on purpose')")
    assert ran(tmp_path, "lint").returncode == 5


def test_a_tiltfile_goes_to_a_notebook_and_back(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local_resource('a', 'true')\n\n# --- More ---\nlocal_resource('b', 'true')\n")
    done = ran(tmp_path, "import", "Tiltfile", "n.ipynb")
    assert (done.returncode, done.stdout) == (0, "Wrote n.ipynb: 2 cells\n")
    done = ran(tmp_path, "export", "n.ipynb")
    assert (done.returncode, "exists already" in done.stderr) == (2, True)
    done = ran(tmp_path, "export", "n.ipynb", "Again")
    assert (done.returncode, done.stdout) == (0, "Wrote Again: 2 cells\n")
    spec, again = (json.loads(ran(tmp_path, "tiltfile-result", "-f", name).stdout) for name in ("Tiltfile", "Again"))
    assert again["resources"] == spec["resources"]
    assert ran(tmp_path, "export", "n.ipynb", "--force").returncode == 0
    assert (tmp_path / "Tiltfile").read_text() == (tmp_path / "Again").read_text()


def test_the_arguments_of_an_import_go_with_the_cells(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local('touch ran')\n\nlocal_resource('a', 'true')")
    assert ran(tmp_path, "import", "Tiltfile", "n.ipynb", "--whole", "--", "a").stdout == "Wrote n.ipynb: 1 cell\n"
    assert not (tmp_path / "ran").exists()
    assert "%%tiltfile -- a" in (tmp_path / "n.ipynb").read_text()
    assert ran(tmp_path, "export", "n.ipynb", "--force").returncode == 0
    assert "tilt up -- a\n" in (tmp_path / "Tiltfile").read_text()


@pytest.mark.parametrize(
    "words, status, expected",
    [
        (("import", "nowhere", "n.ipynb"), 2, "Cannot read nowhere"),
        (("import", "Bad", "n.ipynb"), 5, "   2 | y = ="),
        (("import", "Bad"), 2, "required: NOTEBOOK"),
        (("export", "nowhere.ipynb"), 2, "Cannot read nowhere.ipynb"),
        (("export", "Bad"), 2, "Bad is no notebook"),
        (("export",), 2, "required: NOTEBOOK"),
    ],
)
def test_what_cannot_be_converted(words: tuple[str, ...], status: int, expected: str, tmp_path: Path) -> None:
    (tmp_path / "Bad").write_text("x = 1\ny = = 2")
    done = ran(tmp_path, *words)
    assert (done.returncode, expected in done.stderr) == (status, True)
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Bad"]


def test_args_says_what_they_would_do_and_where_they_are_set(tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local_resource('a', 'touch ran')\nlocal_resource('b', 'true')")
    done = ran(tmp_path, "args", "--", "b")
    assert (done.returncode, done.stdout) == (0, "off a\non  b\n")
    assert "%tilt args -- b" in done.stderr
    assert ran(tmp_path, "args").stdout == "on  a\non  b\n"
    assert ran(tmp_path, "args", "--", "c").returncode == 5
    assert not (tmp_path / "ran").exists()
