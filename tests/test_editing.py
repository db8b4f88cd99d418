"""Help while a cell is being written, through a real kernel: TAB, Shift-Tab, `name?`; and that unloading ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kernels import Kernel

HOOKS = """
ip = get_ipython()
print(
    [getattr(m, 'matcher_identifier', '') for m in ip.Completer.custom_matchers],
    [t.__name__ for t in ip.input_transformers_cleanup if getattr(t, '__module__', '').startswith('ipytilt')],
    'do_inspect' in vars(ip.kernel),
)
"""
API = "local_resource('api', 'true', labels=['back'])"


def test_a_cell_that_was_never_run_is_completed(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "index.html").touch()
    names = "print(sorted(name for name in globals() if not name.startswith('_')))"
    before = kernel.good(names).stdout
    assert kernel.complete("%%tiltfile\nos.path.jo") == ["join"]
    assert kernel.complete("%%tiltfile\nconfig.define_s") == ["define_string", "define_string_list"]
    assert kernel.complete("%%tiltfile\nsync('web/") == ["index.html"]
    assert kernel.complete("%%tiltfile\ndef helper(): pass\nhel")[:2] == ["helper", "helm"]
    assert kernel.good(names).stdout == before
    assert kernel.good("sum(c._cockpit is not None for c in ip.configurables if hasattr(c, '_cockpit'))").text == "0"


def test_the_reply_says_what_is_replaced_and_what_kind_it_is(kernel: Kernel) -> None:
    code = "%%tiltfile\nlocal_resource('a',\n  serve_"
    content = kernel.completion(code)
    assert (content["cursor_start"], content["cursor_end"]) == (len(code) - len("serve_"), len(code))
    assert content["matches"] == ["serve_cmd=", "serve_cmd_bat=", "serve_env=", "serve_dir="]
    kinds = {each["type"] for each in content["metadata"]["_jupyter_types_experimental"]}
    assert kinds == {"param"}


def test_names_of_earlier_cells_and_of_resources_are_known(kernel: Kernel) -> None:
    kernel.good("%%tiltfile\nfolder = 'x'\ndef serve(name, port=80):\n  pass\n" + API)
    assert kernel.complete("%%tiltfile\nfol") == ["folder"]
    assert kernel.complete("%%tiltfile\nserve('a', po") == ["port=", "port", "port_forward"]
    assert kernel.complete("%%tiltfile\nlocal_resource('b', 'x', resource_deps=['") == ["api"]
    assert kernel.complete("%%tiltfile\nlocal_resource('b', 'x', labels='") == ["back"]
    assert "folder" not in kernel.complete("fol")


@pytest.mark.parametrize("text", ["imp", "# os.", "x = nothing_known.", "fail('os.", "def os_"])
def test_python_offers_nothing_in_a_tiltfile_cell(kernel: Kernel, text: str) -> None:
    assert kernel.complete(f"%%tiltfile\n{text}") == []


def test_other_cells_are_left_to_python(kernel: Kernel) -> None:
    assert "docker_build" not in kernel.complete("docker_b")
    assert "getcwd" in kernel.complete("import os\nos.getc")
    assert "%%tiltfile" in kernel.complete("%%tiltf")


@pytest.mark.parametrize(
    "code, expected",
    [
        ("docker_build('a', ", ["docker_build(ref, context,", "context: a path", "Build an image from a Dockerfile"]),
        ("x = os.path.join", ["os.path.join(*parts)", "one clean path"]),
        ("os.environ", ["os.environ"]),
        ("len(", ["len(x)", "number of elements"]),
        ("def mine(a, b=2):\n  'Mine alone.'\nmine(", ["mine(a, b=2)", "Mine alone."]),
    ],
)
def test_shift_tab_shows_signature_and_docstring(kernel: Kernel, code: str, expected: list[str]) -> None:
    shown = kernel.inspect(f"%%tiltfile\n{code}")
    for words in expected:
        assert words in shown


def test_shift_tab_elsewhere_is_python_s(kernel: Kernel) -> None:
    kernel.good("def docker_build_mine(a):\n    'Python has this one.'")
    assert "Python has this one" in kernel.inspect("docker_build_mine")
    assert kernel.inspect("%%tiltfile\nnobody_knows") == ""
    assert "Evaluate a Tiltfile cell" in kernel.inspect("%%tiltfile", 5)


def test_a_question_mark_and_the_verb_show_the_same(kernel: Kernel) -> None:
    asked = kernel.good("docker_build?").text
    assert asked.startswith("docker_build(ref, context,")
    assert asked == kernel.good("%tilt help docker_build").text
    assert asked == kernel.good("?docker_build").text
    assert "v1alpha1.ui_button(" in kernel.good("v1alpha1.ui_button?").text
    assert "os.path.join" in kernel.good("%tilt help os.path").text
    assert "did you mean docker_build" in kernel.run("%tilt help docker_bild").shown_error
    assert "Update a resource now" in kernel.good("%tilt help trigger").text
    assert "docker_compose" in kernel.complete("%tilt help docker_c")


def test_a_name_that_python_knows_is_python_s(kernel: Kernel) -> None:
    kernel.good("def sync(a):\n    'My own.'")
    assert kernel.good("sync?").text == ""
    kernel.good("del sync")
    assert kernel.good("sync?").text.startswith("sync(local_path, remote_path)")


def test_unload_takes_the_hooks_back_and_leaves_those_of_others(kernel: Kernel) -> None:
    assert kernel.good(HOOKS).stdout.strip() == "['ipytilt'] ['asked', 'emptied'] True"
    kernel.good("%reload_ext ipytilt")
    assert kernel.good(HOOKS).stdout.strip() == "['ipytilt'] ['asked', 'emptied'] True"
    kernel.good("%unload_ext ipytilt")
    assert kernel.good(HOOKS).stdout.strip() == "[] [] False"
    kernel.good("theirs = ip.kernel.do_inspect = lambda *words: {'status': 'ok', 'found': False}")
    kernel.good("%load_ext ipytilt")
    kernel.good("%unload_ext ipytilt")
    assert kernel.good("ip.kernel.do_inspect is theirs").text == "True"
    kernel.good("del ip.kernel.do_inspect\n%load_ext ipytilt")


def test_a_mistake_of_ours_never_reaches_the_front_end(kernel: Kernel) -> None:
    kernel.good("import ipytilt.editing as e\nkept = e.complete, e.describe\ne.complete = e.describe = None")
    assert "getcwd" in kernel.complete("import os\nos.getc")
    kernel.complete("%%tiltfile\nos.")
    kernel.inspect("%%tiltfile\nos")
    assert kernel.good("e.complete, e.describe = kept").stderr == ""
