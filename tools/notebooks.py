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


KUBERNETES: list[tuple[str, str]] = [
    (
        "md",
        """
        # Kubernetes, while you type

        A small web app runs in a pod. You edit one of its files; a few milliseconds later the pod has it, without a
        new image and without a rollout. Then the app crashes, Kubernetes starts it anew from its image, and the edit is
        back before you look. A port of this machine leads to the app all the while.

        ## A cluster to play with

        Any cluster for development will do. One of these gives you one:

        | | |
        |---|---|
        | [kind](https://kind.sigs.k8s.io) | `kind create cluster` |
        | [k3d](https://k3d.io) | `k3d cluster create` |
        | [minikube](https://minikube.sigs.k8s.io) | `minikube start` |
        | Docker Desktop | *Settings, Kubernetes, Enable Kubernetes* |
        | a bare Debian machine, in a checkout of ipytilt | `make cluster`, and start Jupyter with what it prints |

        ipytilt uses the current context of your kube config, as `kubectl` does, and refuses to touch one that does not
        look like a cluster for development, unless the Tiltfile allows it. If this cell shows no node, get a cluster
        first:
        """,
    ),
    ("code", "!kubectl get nodes"),
    ("code", "%load_ext ipytilt"),
    (
        "md",
        """
        ## Say what you want

        The YAML is a plain Deployment that runs the image `hello-web`. The Tiltfile says how that image is made, what
        goes into a running pod instead, and which port of this machine leads to it.
        """,
    ),
    (
        "code",
        """
        %%tiltfile
        allow_k8s_contexts('ipytilt-test')  # what make cluster starts; kind, k3d and the like need no permission

        k8s_yaml('kubernetes/hello.yaml')
        k8s_resource('hello', port_forwards='8086:8000')

        docker_build('hello-web', 'kubernetes/web', live_update=[
            fall_back_on('kubernetes/web/requirements.txt'),
            sync('kubernetes/web', '/app'),
        ])
        """,
    ),
    ("code", "%tilt wait hello"),
    (
        "md",
        """
        Image built, handed to the cluster, deployed, ready. The app answers with the name of its pod:
        """,
    ),
    (
        "code",
        """
        from pathlib import Path
        from time import sleep
        from urllib.request import urlopen

        def page(path='/'):
            return urlopen(f'http://127.0.0.1:8086{path}', timeout=10).read().decode()

        def until(text):
            \"\"\"Ask until the page has the text, over crashes and all.\"\"\"
            for _ in range(200):
                try:
                    if text in page():
                        return page()
                except OSError:
                    pass
                sleep(0.5)
            raise TimeoutError(text)

        print(until('Hello'))
        """,
    ),
    (
        "md",
        """
        ## Change something

        Save a file, as your editor would. The pod keeps its name: it is the same one, with a new file in it.
        """,
    ),
    (
        "code",
        """
        greeting = Path('kubernetes/web/greeting.txt')
        greeting.write_text('Hello again, changed while running\\n')

        %tilt wait hello
        print(page())
        """,
    ),
    ("code", "%tilt why hello"),
    ("md", "What *would* happen if another file changed? Nothing is touched by asking."),
    ("code", "%tilt explain kubernetes/web/requirements.txt"),
    (
        "md",
        """
        ## Crash

        The app ends itself, and Kubernetes starts the container anew. That one comes from the image, which still has
        the first greeting. ipytilt sees a new container and gives it everything that changed since its image was
        built.
        """,
    ),
    (
        "code",
        """
        try:
            page('/crash')
        except OSError:
            print('It is gone.')

        print(until('Hello again'))
        """,
    ),
    ("md", "What the pod writes, and what the cluster and ipytilt do about it, is all in one log:"),
    ("code", "%tilt logs hello --tail 40"),
    ("md", "The same when the pod goes, for whatever reason: another name, the same files, the same port."),
    (
        "code",
        """
        before = page().split()[0]
        !kubectl delete pod {before} --wait=false

        while (after := until('Hello again').split()[0]) == before:
            sleep(0.5)
        print(before, 'was replaced by', after)
        """,
    ),
    ("code", "%tilt wait hello\n%tilt status"),
    (
        "md",
        """
        ## Clean up

        The file is yours; the Deployment goes.
        """,
    ),
    ("code", "greeting.write_text('Hello from a pod\\n')\n\n%tilt down"),
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


WRITTEN = {"quickstart.ipynb": QUICKSTART, "kubernetes.ipynb": KUBERNETES}


def text_of(name: str) -> str:
    """The text of one of the notebooks, as it is committed."""
    writes: Any = nbformat.writes
    return str(writes(notebook(WRITTEN[name]))) + "\n"


if __name__ == "__main__":
    for name in WRITTEN:
        (NOTEBOOKS / name).write_text(text_of(name))
