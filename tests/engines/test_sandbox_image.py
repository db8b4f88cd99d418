"""Building images of the sandbox, in both ways to run commands. Runs on pytest's thread."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from pathlib import Path

import pytest

from ipytilt.core.spec import Command, CustomBuild, Ignore, Image
from ipytilt.core.steps import BuildImage, Built
from ipytilt.engines.sandbox import SandboxEngine
from ipytilt.errors import Cancelled, Rejected
from tests.engines.sandboxes import Listening, Running, write
from tests.support.waiting import eventually


def contents(sandbox: Running, built: Built) -> dict[str, str]:
    """The files of an image that a build put there."""
    tree = Path(sandbox.engine._images[built.local_ref].tree)
    found = {}
    for path in tree.rglob("*"):
        name = f"/{path.relative_to(tree)}"
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes().decode(errors="replace")
    return {name: text for name, text in found.items() if not name.startswith("/dev/") and name.count("/") > 1}


@pytest.mark.parametrize(
    "instructions,expected",
    [
        ("COPY a.txt /x/", {"/x/a.txt": "A"}),
        ("COPY a.txt /x/b", {"/x/b": "A"}),
        ("WORKDIR /x\nCOPY a.txt .", {"/x/a.txt": "A"}),
        ("WORKDIR /x\nWORKDIR y\nCOPY a.txt c.txt ./", {"/x/y/a.txt": "A", "/x/y/c.txt": "C"}),
        ("COPY a.txt c.txt /x/", {"/x/a.txt": "A", "/x/c.txt": "C"}),
        ("COPY *.txt /x/", {"/x/a.txt": "A", "/x/c.txt": "C"}),
        ("COPY dir /x", {"/x/one": "1", "/x/sub/two": "2"}),
        ("COPY dir/ /x/y/", {"/x/y/one": "1", "/x/y/sub/two": "2"}),
        ("COPY dir /x\nCOPY a.txt /x/sub", {"/x/one": "1", "/x/sub/two": "2", "/x/sub/a.txt": "A"}),
        ("COPY link /x/", {"/x/link": "A"}),
        ("COPY links /x", {"/x/inner": "-> ../a.txt"}),
        ('COPY ["with space", "/x/y z"]', {"/x/y z": "S"}),
        ("ARG to=/x\nENV name=b\nCOPY a.txt $to/${name}", {"/x/b": "A"}),
        ("ADD files.tar.gz /x", {"/x/packed/p": "P"}),
        ("ENV A=b\nCOPY <<EOF <<'RAW' /x/\n$A\nEOF\n$A\nRAW", {"/x/EOF": "b\n", "/x/RAW": "$A\n"}),
        ("WORKDIR /x\nRUN echo one > f && cat f >> f2; pwd >> f2", {"/x/f": "one\n", "/x/f2": "one\n/x\n"}),
        ('WORKDIR /x\nRUN ["touch", "$HOME"]', {"/x/$HOME": ""}),
        ("WORKDIR /x\nRUN <<EOF\nfor i in 1 2; do echo $i >> f; done\nEOF", {"/x/f": "1\n2\n"}),
        ("WORKDIR /x\nRUN cat <<EOF > f\nhello\nEOF", {"/x/f": "hello\n"}),
        ('WORKDIR /x\nSHELL ["/bin/sh", "-ec"]\nRUN false || true; echo $- > f', {"/x/f": "e\n"}),
        ("WORKDIR /x\nARG a=1\nENV b=2\nRUN echo $a$b > f", {"/x/f": "12\n"}),
        ("COPY a.txt /x/a\nRUN rm /x/a && echo b > /x/b", {"/x/b": "b\n"}),
        ("COPY a.txt /x/a\nRUN echo more >> /x/a\nCOPY c.txt /x/c", {"/x/a": "Amore\n", "/x/c": "C"}),
    ],
)
def test_instructions(sandbox: Running, instructions: str, expected: dict[str, str]) -> None:
    folder = write(sandbox.folder, {"a.txt": "A", "c.txt": "C", "dir/one": "1", "dir/sub/two": "2", "with space": "S"})
    (folder / "link").symlink_to("a.txt")
    (folder / "links").mkdir()
    (folder / "links/inner").symlink_to("../a.txt")
    with tarfile.open(folder / "files.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("packed/p")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"P"))
    found = contents(sandbox, sandbox.build(f"FROM python:3-slim\n{instructions}"))
    assert {name: text for name, text in found.items() if name.startswith("/x/")} == expected


def test_only_add_unpacks(sandbox: Running) -> None:
    with tarfile.open(sandbox.folder / "files.tar", "w"):
        pass
    assert list(contents(sandbox, sandbox.build("FROM a\nCOPY files.tar /x/"))) == ["/x/files.tar"]
    assert list(contents(sandbox, sandbox.build("FROM a\nADD files.tar /x/"))) == []


def test_modes(sandbox: Running) -> None:
    write(sandbox.folder, {"plain": "", "script": ""})
    (sandbox.folder / "script").chmod(0o755)
    built = sandbox.build("FROM a\nCOPY . /x\nCOPY --chmod=700 plain /x/private")
    tree = Path(sandbox.engine._images[built.local_ref].tree) / "x"
    assert [oct((tree / name).stat().st_mode & 0o777) for name in ("plain", "script", "private")] == [
        "0o644",
        "0o755",
        "0o700",
    ]


def test_stages(sandbox: Running) -> None:
    write(sandbox.folder, {"a": "A"})
    dockerfile = """
FROM golang AS Build
WORKDIR /src
COPY a .
RUN cp a built && ln -s built link
FROM scratch AS never
RUN exit 1
FROM build AS more
RUN echo more > /src/more
FROM debian
COPY --from=build /src/built /out/
COPY --from=0 /src/link /out/link
COPY --from=more /src /all
"""
    assert contents(sandbox, sandbox.build(dockerfile)) == {
        "/out/built": "A",
        "/out/link": "A",
        "/all/a": "A",
        "/all/built": "A",
        "/all/link": "-> built",
        "/all/more": "more\n",
    }
    assert contents(sandbox, sandbox.build(dockerfile, target="more"))["/src/more"] == "more\n"


def test_programs_of_the_host_can_be_copied_from_other_images(sandbox: Running) -> None:
    built = sandbox.build("FROM a\nCOPY --from=busybox /bin/true /x/")
    assert (Path(sandbox.engine._images[built.local_ref].tree) / "x/true").read_bytes() == Path(
        "/bin/true"
    ).read_bytes()


def test_from_an_image_of_this_session(sandbox: Running) -> None:
    write(sandbox.folder, {"a": "A"})
    base = sandbox.build("FROM a\nWORKDIR /base\nENV x=1\nCOPY a .\nCMD base", ref="base")
    bases = (("base", base.local_ref),)
    built = sandbox.build("FROM base:any\nRUN echo $x > b", bases=bases)
    assert contents(sandbox, built) == {"/base/a": "A", "/base/b": "1\n"}
    config = sandbox.engine._images[built.local_ref].config
    assert (config.workdir, config.cmd) == ("/base", ("/bin/sh", "-c", "base"))
    reset = sandbox.build('FROM base\nENTRYPOINT ["x"]', bases=bases)
    assert sandbox.engine._images[reset.local_ref].config.cmd is None


def test_build_arguments(sandbox: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREE", "3")
    dockerfile = "ARG one=0\nFROM a\nARG one\nARG two=0\nARG THREE\nARG four\nRUN echo $one$two$THREE$four > ~/f\n"
    built = sandbox.build(f"{dockerfile}WORKDIR /x$one", args=("THREE", "one=1", "two=2", "unused=9"))
    assert sandbox.engine._images[built.local_ref].config.workdir == "/x1"


@pytest.mark.parametrize(
    "dockerfile,line,message",
    [
        ("", 0, "file with no instructions"),
        ("RUN true\nFROM a", 1, "begin with FROM"),
        ("FROM a\nFLY high", 2, "unknown instruction: FLY"),
        ("FROM a\n\nCOPY nothing /x", 3, "nothing: not found in build context or excluded by .dockerignore"),
        ("FROM a\nCOPY ../x /x", 2, "outside of the build context"),
        ("FROM a\nCOPY outside /x", 2, "leads outside of the build context"),
        ("FROM a\nCOPY a", 2, "COPY requires at least two arguments"),
        ("FROM a\nCOPY a b /x", 2, "the destination must be a directory and end with a /"),
        ("FROM a\nCOPY --from=other /nowhere /x", 2, "/nowhere: not found in other"),
        ("FROM a\nCOPY --chmod=u+x a /x", 2, "expected an octal number"),
        ("FROM a\nCOPY --parents a /x/", 2, "does not know --parents of COPY"),
        ("FROM a\nADD https://example.org/x /x", 2, "downloads nothing"),
        ("FROM a\nRUN --mount=type=secret,id=x true", 2, "has no --mount=type=secret"),
        ("FROM a\nRUN --network=none true", 2, "cannot separate networks"),
        ("FROM a\nENV x", 2, "x must have a value"),
        ("FROM a\nENV x=${no:?set it}", 2, "no: set it"),
        ("FROM a\nSHELL sh", 2, "JSON form"),
        ("FROM a AS b c", 1, "FROM requires either one argument, or three"),
        ("FROM a\nRUN echo out; echo err >&2; exit 3", 2, "failed with exit code 3:\nout\nerr"),
        ('FROM a\nRUN ["/no/such", "x"]', 2, "/no/such: executable file not found"),
        ("FROM a\nRUN <<EOF\necho", 2, "here-document EOF does not end"),
    ],
)
def test_errors_name_the_line(sandbox: Running, dockerfile: str, line: int, message: str) -> None:
    write(sandbox.folder, {"a": "", "b": ""})
    (sandbox.folder / "outside").symlink_to("/etc/passwd")
    with pytest.raises(Rejected) as caught:
        sandbox.build(dockerfile)
    assert message in caught.value.message
    assert caught.value.where == ("/project/Dockerfile" + (f":{line}" if line else ""))
    assert "building web" in caught.value.render()


def test_an_unknown_target(sandbox: Running) -> None:
    with pytest.raises(Rejected, match='target stage "x" could not be found'):
        sandbox.build("FROM a", target="x")


def test_what_is_not_followed_is_said(sandbox: Running) -> None:
    write(sandbox.folder, {"a": ""})
    sandbox.build(
        "FROM a\nLABEL a=b\nEXPOSE 80\nMAINTAINER me\nUSER 1000\nUSER 1001\nVOLUME /data\nONBUILD RUN exit 1\n"
        "HEALTHCHECK --interval=5s CMD true\nSTOPSIGNAL SIGINT\nCOPY --chown=1:1 a /x"
    )
    notes = [line.partition(" is not followed")[0] for line in sandbox.heard.lines if " is not followed" in line]
    assert notes == ["USER", "VOLUME", "ONBUILD", "HEALTHCHECK", "STOPSIGNAL", "--chown"]


def test_ignored_files_are_neither_copied_nor_part_of_the_digest(sandbox: Running) -> None:
    write(sandbox.folder, {"a": "A", "skip/b": "B", "skip/keep": "K", ".env": "E"})
    ignores = (Ignore(str(sandbox.folder), ("skip", "!skip/keep", ".env")),)
    built = sandbox.build("FROM a\nCOPY . /x", ignores=ignores)
    assert contents(sandbox, built) == {"/x/a": "A", "/x/skip/keep": "K"}
    write(sandbox.folder, {"skip/b": "other"})
    assert sandbox.build("FROM a\nCOPY . /x", ignores=ignores) == built
    with pytest.raises(Rejected, match=r"excluded by \.dockerignore"):
        sandbox.build("FROM a\nCOPY .env /x", ignores=ignores)


def test_an_unchanged_image_is_found_and_a_changed_one_starts_where_it_differs(sandbox: Running) -> None:
    write(sandbox.folder, {"deps": "1", "main": "1"})
    dockerfile = "FROM a\nCOPY deps /x/\nRUN echo installing; cp /x/deps /x/installed\nCOPY main /x/\nRUN echo last"
    first = sandbox.build(dockerfile)
    assert first.local_ref == f"web:tilt-{first.digest.removeprefix('sha256:')[:16]}"
    assert "installing" in sandbox.heard.lines

    sandbox.heard.lines.clear()
    os.utime(sandbox.folder / "main")
    assert sandbox.build(dockerfile) == first
    assert [line.endswith("[cached]") for line in sandbox.heard.lines] == [True] * 4

    sandbox.heard.lines.clear()
    write(sandbox.folder, {"main": "2"})
    second = sandbox.build(dockerfile)
    assert second.digest != first.digest
    assert "installing" not in sandbox.heard.lines
    assert contents(sandbox, second) == {"/x/deps": "1", "/x/installed": "1", "/x/main": "2"}
    assert contents(sandbox, first) == {"/x/deps": "1", "/x/installed": "1", "/x/main": "1"}


def test_another_session_finds_what_was_built(sandbox: Running, isolation: str) -> None:
    first = sandbox.build("FROM a\nRUN echo installing > ~/x")
    other = SandboxEngine(folder=sandbox.engine._folder, isolation=isolation)
    running = Running(other, sandbox.folder)
    try:
        assert running.build("FROM a\nRUN echo installing > ~/x") == first
        assert running.heard.lines == ["[1/1] RUN echo installing > ~/x [cached]"]
    finally:
        other.close()


def test_what_a_failed_build_left_is_gone(sandbox: Running) -> None:
    with pytest.raises(Rejected):
        sandbox.build("FROM a\nRUN exit 1")
    assert sandbox.engine._store is not None
    assert list(Path(sandbox.engine._store.session).iterdir()) == []


def test_a_build_is_cancelled(sandbox: Running) -> None:
    caught: list[BaseException] = []

    def build() -> None:
        try:
            sandbox.build("FROM a\nRUN echo sleeping; sleep 1000 & sleep 1001")
        except Cancelled as error:
            caught.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    eventually(lambda: "sleeping" in sandbox.heard.lines)
    sandbox.heard.work.cancel()
    thread.join(10)
    assert len(caught) == 1


def test_a_command_cannot_change_the_host(sandbox: Running, host_file: Path) -> None:
    write(sandbox.folder, {"a": ""})
    sandbox.build(f"FROM a\nRUN echo broken > {host_file} || true; rm -f {host_file} || true; touch /usr/x || true")
    assert host_file.read_text() == "mine"
    assert not Path("/usr/x").exists()


def test_commands_of_a_build_see_what_it_copied_over_the_host(sandbox: Running) -> None:
    write(sandbox.folder, {"hello": "#!/bin/sh\necho hello from here\n"})
    (sandbox.folder / "hello").chmod(0o755)
    sandbox.build("FROM a\nCOPY hello /usr/local/bin/\nCOPY hello /bin/hello2\nRUN hello && hello2")
    assert sandbox.heard.lines.count("hello from here") == 2


def test_custom_builds_are_refused(sandbox: Running) -> None:
    image = Image("web", CustomBuild(Command(("make",), "/")))
    with pytest.raises(Rejected, match="from Dockerfiles only"):
        sandbox.engine.build(BuildImage(image), Listening().work)
