"""The chunks of `chunks/*.tilt`: each a Tiltfile of its own that loads, or fails on the line that says how.

Chunks are cut by lines of three dashes. `### "text"` at the end of a line expects an error there whose message holds
the text; a chunk without one must load. `load('asserts', 'eq')` gives a chunk something to compare with. `world` below
is what the chunks find around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipytilt.tiltfile.host import Ran
from ipytilt.tiltfile.load import LoadError
from tests.tiltfile.cases_k8s import objects
from tests.tiltfile.evaluated import evaluate

FOLDER = Path(__file__).parent / "chunks"
EXPECTED = re.compile(r'### "(.*)"$')

WORLD = {
    "asserts": "def eq(a, b):\n  if a != b: fail('%r is not %r' % (a, b))\n",
    "src/a.py": "a",
    "src/deep/b.py": "b",
    "src/.dockerignore": "",
    "app/Dockerfile": "FROM base\n",
    "data.json": '{"a": [1, 2.5, null], "b": "x"}',
    "data.yaml": "a: [1, 2.5]\nb: yes\n",
    "stream.yaml": "a: 1\n---\n---\nb: 2\n",
    "broken.yaml": "a: [\n",
    "repo/.git/HEAD": "ref: refs/heads/main\n",
    "docker-compose.yml": "services: {web: {image: img, depends_on: [db], ports: ['80:80']}, db: {image: postgres}}",
    "lib/lib.star": "v = [1]\n_hidden = 2\ndef where(): return os.getcwd()\nhere = os.getcwd()\nme = __file__\n",
    "lib/fails.star": "def f():\n  fail('from afar')\n",
    "syntax.star": "a = = 1\n",
    "a.yaml": objects("D(a,i)"),
    "ab.yaml": objects("D(a,i) D(b,i)"),
    "config.yaml": objects("C(a)"),
    "service.yaml": objects("S(a,n)"),
    "widget.yaml": "{apiVersion: ex.io/v1, kind: Widget, metadata: {name: w}, spec: {img: img, count: 1}}",
    "reexport.star": "load('lib/lib.star', 'v')\nown = v\n",
}
COMMANDS = {
    "echo hi": Ran(0, "hi\n", ""),
    "false": Ran(1, "some", "words"),
    "cat": Ran(0, "", ""),
}


def chunks() -> Iterator[object]:
    for path in sorted(FOLDER.glob("*.tilt")):
        line = 1
        for text in re.split(r"(?m)^---\n", path.read_text()):
            yield pytest.param(text, id=f"{path.stem}:{line}")
            line += text.count("\n") + 1


@pytest.mark.parametrize("text", list(chunks()))
def test_chunk(text: str) -> None:
    expected = {
        number: match[1] for number, line in enumerate(text.splitlines(), 1) if (match := EXPECTED.search(line))
    }
    if not expected:
        evaluate(text, WORLD, environ={"HOME": "/home/u"}, commands=COMMANDS)
        return
    with pytest.raises(LoadError) as caught:
        evaluate(text, WORLD, environ={"HOME": "/home/u"}, commands=COMMANDS)
    found = {caught.value.line: caught.value.message}
    assert found == {line: AnyTextWith(text) for line, text in expected.items()}


class AnyTextWith:
    """Equal to every text that holds the given one."""

    def __init__(self, part: str) -> None:
        self.part = part

    def __eq__(self, other: object) -> bool:
        return self.part in str(other)

    def __hash__(self) -> int:
        return hash(self.part)

    def __repr__(self) -> str:
        return f"...{self.part}..."
