"""Writes the notebooks of this project from readable sources: `python -m tools.notebooks`.

A notebook is JSON that nobody can review; here a cell is a string. The committed notebooks are what this writes, and a
test compares the two.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import nbformat
from nbformat import v4

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"

QUICKSTART: list[tuple[str, str]] = [
    (
        "md",
        """
        # ipytilt in two minutes

        A small web app runs in a container. You edit one of its files; a few milliseconds later the container has it,
        without a new image and without a restart. Then you ask why that happened.

        With Docker running, the app runs in Docker. Without it, it runs in ipytilt's own sandbox. Nothing else changes.
        """,
    ),
    ("code", "%load_ext ipytilt"),
    (
        "md",
        """
        ## Say what you want

        This cell is a Tiltfile, the very one that `tilt up` reads. It names an image, how it is kept up to date while
        it runs, and a check that runs on this machine. Running the cell again replaces what it said before.
        """,
    ),
    (
        "code",
        """
        %%tiltfile
        docker_compose('quickstart/docker-compose.yml')

        docker_build('quickstart-web', 'quickstart/web', live_update=[
            fall_back_on('quickstart/web/requirements.txt'),
            sync('quickstart/web', '/app'),
            run('python3 /app/render.py', trigger='quickstart/web/greeting.txt'),
        ])

        local_resource('check', cmd='python3 quickstart/check.py', deps=['quickstart/check.py'], resource_deps=['web'])
        """,
    ),
    ("code", "%tilt wait web check"),
    (
        "md",
        """
        The panel above is live: it goes on while you work, and its buttons work while a cell is busy. This is the page
        the container serves:
        """,
    ),
    (
        "code",
        """
        from pathlib import Path
        from urllib.request import urlopen

        def page():
            return urlopen('http://localhost:8085/').read().decode()

        print(page())
        """,
    ),
    (
        "md",
        """
        ## Change something

        Save a file, as your editor would. `%tilt wait` returns when the container has it and the page is rendered.
        """,
    ),
    (
        "code",
        """
        greeting = Path('quickstart/web/greeting.txt')
        greeting.write_text('Hello again, changed while running\\n')

        %tilt wait web
        print(page())
        """,
    ),
    ("md", "## Ask why\n\nWhat was the last update caused by, and which line decided what?"),
    ("code", "%tilt why web"),
    ("md", "What *would* happen if another file changed? Nothing is touched by asking."),
    ("code", "%tilt explain quickstart/web/server.py"),
    ("code", "%tilt explain quickstart/web/requirements.txt"),
    ("md", "## Put it back\n\nThe file is yours; the container follows."),
    ("code", "greeting.write_text('Hello from a container\\n')\n\n%tilt wait web\nprint(page())"),
    ("md", "## Look around\n\n`%tilt help` lists the rest."),
    ("code", "%tilt status"),
    ("code", "%tilt logs web --tail 12"),
    (
        "md",
        """
        ## Clean up

        Restarting the kernel leaves containers running, as Tilt does; this takes them down.
        """,
    ),
    (
        "code",
        """
        %tilt down
        """,
    ),
]


def notebook(cells: list[tuple[str, str]]) -> Any:
    """A notebook of ("md" | "code", text) pairs, without outputs, the same bytes every time."""
    made = []
    for index, (kind, text) in enumerate(cells):
        new_cell: Any = v4.new_markdown_cell if kind == "md" else v4.new_code_cell
        cell = new_cell(dedent(text).strip())
        cell["id"] = f"cell-{index:02}"
        made.append(cell)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    new_notebook: Any = v4.new_notebook
    return new_notebook(cells=made, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


WRITTEN = {"quickstart.ipynb": QUICKSTART}


def text_of(name: str) -> str:
    """The text of one of the notebooks, as it is committed."""
    writes: Any = nbformat.writes
    return str(writes(notebook(WRITTEN[name]))) + "\n"


if __name__ == "__main__":
    for name in WRITTEN:
        (NOTEBOOKS / name).write_text(text_of(name))
