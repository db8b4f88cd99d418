"""The magics in a real kernel: what is loaded and unloaded, shown, completed, configured and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ipytilt.engines import choose
from ipytilt.magics import ENGINES
from ipytilt.tiltfile.notebooks import import_tiltfile
from tests.support import eventually
from tests.support.kernels import Kernel, kernel_in

LEFT = """
import threading
from IPython.core.getipython import get_ipython
from ipywidgets.widgets.widget import _instances as widgets
ip = get_ipython()
print(
    sorted(ip.magics_manager.magics['line'].keys() & {'tilt'}),
    sorted(ip.magics_manager.magics['cell'].keys() & {'tiltfile'}),
    'IpyTilt' in ip.magics_manager.registry,
    [c for c in ip.configurables if type(c).__name__ == 'IpyTilt'],
    '%tilt' in ip.strdispatchers['complete_command'].strs,
    'ipytilt_request' in ip.kernel.control_handlers,
    'ipytilt.cmd' in ip.kernel.comm_manager.targets,
    sorted(w.comm.target_name for w in widgets.values()),
    [t.name for t in threading.enumerate() if t.name.startswith('ipytilt')],
)
"""
NOTHING = "[] [] False [] False False False [] []"
SLOW = "local_resource('slow', 'sleep 6201')"


def tiltfile(text: str, line: str = "") -> str:
    return f"%%tiltfile {line}".rstrip() + f"\n{text}"


# ---------------------------------------------------------------------------------------------- loading


def test_unload_takes_back_all_that_was_done(kernel: Kernel) -> None:
    kernel.good(tiltfile("local_resource('srv', serve_cmd='sleep 6200')"))
    kernel.good("%tilt wait")
    kernel.good("%tilt panel")
    assert kernel.runs("sleep 6200")
    kernel.good("%unload_ext ipytilt")
    eventually(lambda: not kernel.family())
    assert kernel.good(LEFT).stdout.strip() == NOTHING
    assert "not found" in kernel.run("%tilt").stderr
    kernel.good("%load_ext ipytilt")
    kernel.good(tiltfile("local_resource('one', 'true')"))
    assert kernel.good("%tilt wait").text == "Ready: one"


def test_a_second_load_changes_nothing(kernel: Kernel) -> None:
    kernel.good(tiltfile("local_resource('one', 'true')"))
    assert "already loaded" in kernel.good("%load_ext ipytilt").stdout
    assert kernel.good("%tilt wait").text == "Ready: one"


def test_reload_starts_afresh(kernel: Kernel) -> None:
    kernel.good(tiltfile("local_resource('srv', serve_cmd='sleep 6202')"))
    kernel.good("%tilt wait")
    kernel.good("%reload_ext ipytilt")
    eventually(lambda: not kernel.runs("sleep 6202"))
    assert "srv" not in kernel.good("%tilt").text
    assert kernel.good("sum(type(c).__name__ == 'IpyTilt' for c in get_ipython().configurables)").text == "1"
    assert kernel.good("len(list(get_ipython().strdispatchers['complete_command'].s_matches('%tilt')))").text == "1"


def test_an_engine_asked_for_before_anything_started_goes_too(kernel: Kernel) -> None:
    kernel.good("%tilt engine")
    kernel.good(
        "engine = next(c for c in get_ipython().configurables if type(c).__name__ == 'IpyTilt').cockpit.session"
    )
    kernel.good("%unload_ext ipytilt")
    shown = kernel.run("engine.start()").shown_error
    assert "This session was stopped" in shown
    kernel.good("%load_ext ipytilt")


# ---------------------------------------------------------------------------------------------- cells


def test_a_mistake_shows_the_line_the_notebook_shows_and_none_of_our_frames(kernel: Kernel) -> None:
    output = kernel.run(tiltfile("local_resource('one', 'true')\n\nlocal_resource('two', 'true',\n  depps=['x'])"))
    lines = output.shown_error.splitlines()
    number = kernel.good("len(In) - 2").text
    assert lines[0] == f"Tiltfile error at Cell In[{number}]:4"
    assert lines[1].startswith("   4 | local_resource('two', 'true',")
    assert lines[2].strip() == "^"
    assert "did you mean deps" in output.shown_error
    assert "Traceback" not in output.shown_error
    assert "ipytilt/" not in output.shown_error
    assert (output.stdout, output.stderr) == ("", "")
    kernel.good(tiltfile("local_resource('one', 'true')\nlocal_resource('two', 'true')"))
    assert kernel.good("%tilt wait").text == "Ready: one, two"


def test_cells_add_up_and_running_one_again_replaces_only_its_own(kernel: Kernel) -> None:
    kernel.good(tiltfile("prefix = 'do-'\nlocal_resource(prefix + 'a', 'echo a')"), cell="first")
    kernel.good(tiltfile("local_resource(prefix + 'b', 'echo b')"), cell="second")
    assert kernel.good("%tilt wait").text == "Ready: do-a, do-b"
    kernel.good(tiltfile("local_resource(prefix + 'c', 'echo c')"), cell="second")
    assert kernel.good("%tilt wait").text == "Ready: do-a, do-c"
    assert kernel.good("%tilt logs do-a").text.splitlines().count("a") == 1


def test_a_name_stands_in_for_the_id_of_the_cell(kernel: Kernel) -> None:
    kernel.good(tiltfile("local_resource('a', 'true')", "mine"))
    kernel.good(tiltfile("local_resource('b', 'true')", "mine"))
    kernel.good(tiltfile("local_resource('c', 'true')", "'another one'"))
    assert kernel.good("%tilt wait").text == "Ready: b, c"
    assert "at Cell 'another one':2" in kernel.run(tiltfile("nope()", "'another one'")).shown_error


def test_an_emptied_cell_takes_back_what_it_defined(kernel: Kernel) -> None:
    kernel.good(tiltfile("local_resource('a', 'true')"), cell="first")
    kernel.good(tiltfile("local_resource('b', 'true')"), cell="second")
    kernel.good("%%tiltfile", cell="first")
    assert kernel.good("%tilt wait").text == "Ready: b"
    kernel.good("\n%%tiltfile  \n", cell="second")
    assert "There is nothing to wait for" in kernel.run("%tilt wait").shown_error
    assert "cell body is empty" in kernel.run("%%time").stderr


def test_without_names_and_ids_every_run_is_a_cell_of_its_own(kernel: Kernel) -> None:
    kernel.good(tiltfile("local_resource('a', 'true')"))
    assert "'a'" in kernel.run(tiltfile("local_resource('a', 'true')")).shown_error
    assert kernel.good("%tilt wait").text == "Ready: a"


def test_arguments_reach_the_tiltfile(kernel: Kernel) -> None:
    text = "config.define_string('who')\nlocal_resource(config.parse().get('who', 'nobody'), 'true')"
    kernel.good(tiltfile(text, "mine"))
    assert kernel.good("%tilt wait").text == "Ready: nobody"
    kernel.good(tiltfile(text, "mine -- --who me"))
    assert kernel.good("%tilt wait").text == "Ready: me"
    kernel.good("%tilt args -- --who you")
    assert kernel.good("%tilt wait").text == "Ready: you"


def test_a_tiltfile_comes_in_as_a_cell_and_goes_out_as_a_file(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "Tiltfile").write_text("local_resource('a', 'true')\n\nlocal_resource('b', 'true')\n")
    output = kernel.good("%tilt import")
    assert "in a new cell below" in output.text
    (asked,) = output.payload
    assert (asked["source"], asked["replace"]) == ("set_next_input", False)
    kernel.good(asked["text"], cell="below")
    assert kernel.good("%tilt wait").text == "Ready: a, b"
    kernel.good(tiltfile("local_resource('c', 'true')"), cell="last")
    assert kernel.good("%tilt export Exported").text == f"Wrote {tmp_path}/Exported: 2 cells"
    assert (tmp_path / "Exported").read_text().endswith("'b', 'true')\n\nlocal_resource('c', 'true')\n")
    assert "exists already" in kernel.run("%tilt export").shown_error
    assert kernel.good("%tilt status").payload == []


def test_an_imported_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Tiltfile").write_text(
        "config.define_string('who')\nwho = config.parse()['who']\n\nlocal_resource(who, 'touch here')"
    )
    import_tiltfile(str(tmp_path / "app" / "Tiltfile"), str(tmp_path / "n.ipynb"), ("--who", "me"))
    notebook = json.loads((tmp_path / "n.ipynb").read_text())
    texts = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert len(texts) == 3
    with kernel_in(tmp_path) as kernel:  # its own, because %config outlives a reload
        for number, text in enumerate(texts):
            kernel.good(text, cell=str(number))
        assert kernel.good("%tilt wait").text == "Ready: me"
        kernel.good("%tilt export Again")
    assert (tmp_path / "app" / "here").exists()
    assert (tmp_path / "app" / "Again").read_text().splitlines()[1].endswith("tilt up -- --who me")


def test_time_around_a_cell_works(kernel: Kernel) -> None:
    output = kernel.good("%%time\n%%tiltfile\nlocal_resource('a', 'true')")
    assert "Wall time" in output.stdout
    assert kernel.good("%tilt wait").text == "Ready: a"


def test_up_reads_the_tiltfile_beside_the_notebook(kernel: Kernel, tmp_path: Path) -> None:
    assert "There is no file Tiltfile" in kernel.run("%tilt up").shown_error
    (tmp_path / "Tiltfile").write_text("local_resource('filed', 'true')\n")
    kernel.good("%tilt up")
    assert kernel.good("%tilt wait").text == "Ready: filed"
    (tmp_path / "Tiltfile").write_text("local_resource('filed', 'true')\nnope()\n")
    eventually(lambda: "Tiltfile:2" in kernel.good("%tilt").text)


# ---------------------------------------------------------------------------------------------- completion


def test_completion(kernel: Kernel) -> None:
    assert kernel.complete("%tilt tr") == ["trigger"]
    kernel.complete("%tilt wait s")
    assert "'ipytilt" not in kernel.good("import threading\n[t.name for t in threading.enumerate()]").text
    kernel.good(tiltfile("local_resource('shop', 'true')\nlocal_resource('stock', 'true')"))
    assert kernel.complete("%tilt wait s") == ["shop", "stock"]
    assert kernel.complete("%tilt wait shop st") == ["stock"]
    assert kernel.complete("x = 1\n%tilt why sh") == ["shop"]
    for line in ("%tilt explain s", "%tilt nonsense s", "%who s"):
        assert not {"shop", "stock"} & set(kernel.complete(line))


def test_completion_leaves_a_variable_of_that_name_alone(kernel: Kernel) -> None:
    kernel.good("tilt = 'text'")
    assert kernel.complete("tilt.uppe") == ["upper"]
    assert "trigger" not in kernel.complete("tilt tr")
    kernel.good("del tilt")


# ---------------------------------------------------------------------------------------------- settings


def test_the_engines_a_user_may_name_are_those_there_are() -> None:
    assert ENGINES == choose.ENGINES


def test_config_shows_and_sets(kernel: Kernel, tmp_path: Path) -> None:
    shown = kernel.good("%config IpyTilt").stdout
    for setting in ("IpyTilt.engine", "IpyTilt.directory", "IpyTilt.log_bytes", "IpyTilt.rest", "IpyTilt.cap"):
        assert setting in shown
    assert "['auto', 'docker', 'sandbox']" in kernel.run("%config IpyTilt.engine = 'bogus'").stderr
    assert kernel.run("%reload_ext ipytilt").shown_error.startswith("c.IpyTilt: The 'engine' trait")
    kernel.good("%config IpyTilt.engine = 'auto'\n%load_ext ipytilt")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/Tiltfile").write_text("local_resource('deep', 'true')")
    kernel.good("%config IpyTilt.directory = 'below'")
    kernel.good("%tilt up")
    assert kernel.good("%tilt wait").text == "Ready: deep"
    assert "cannot change while there is a session" in kernel.run("%config IpyTilt.log_bytes = 5").stderr
    kernel.good("%reload_ext ipytilt")
    assert "Current: 5" in kernel.good("%config IpyTilt").stdout
    kernel.good("%config IpyTilt.directory = ''\n%config IpyTilt.log_bytes = 2_000_000")


def test_rest_and_cap_may_change_while_there_is_a_session(kernel: Kernel) -> None:
    assert "rest of a: 'x' is no time to wait; give seconds" in kernel.run("%config IpyTilt.rest = {'a': 'x'}").stderr
    kernel.good("%config IpyTilt.rest = {'a': 2}")
    kernel.good(tiltfile("local_resource('a', 'true', deps='a')\nlocal_resource('b', 'true', deps='b')"))
    assert "changes rest 2 s, at most 100 s in all" in kernel.good("%tilt explain a").text
    kernel.good("%config IpyTilt.cap = 30")
    assert "changes rest 2 s, at most 30 s in all" in kernel.good("%tilt explain a").text
    status = kernel.good("%tilt status").text
    assert "all resources: changes rest until they have settled, at most 30 s in all\na: changes rest 2 s" in status
    assert "is shorter than the rest" in kernel.run("%config IpyTilt.cap = {'a': 1}").stderr
    kernel.good("%config IpyTilt.rest = {}\n%config IpyTilt.cap = {}")
    assert "changes rest" not in kernel.good("%tilt status").text


def test_config_says_what_runs_again_at_any_time(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "gen").mkdir(exist_ok=True)
    kernel.good("%config IpyTilt.rerun = {'after': True}")
    kernel.good(
        "%%tiltfile\nlocal_resource('gen', 'true', deps=['gen'])\n"
        "local_resource('after', 'echo ran again', resource_deps=['gen'])"
    )
    kernel.good("%tilt wait")
    (tmp_path / "gen/x").write_text("x")
    text = "import ipytilt; s = ipytilt.session(); s.wait(timeout=60); print([u.cause for u in s['after'].updates])"
    assert eventually(lambda: "Dependency Updated" in kernel.good(text).stdout, timeout=60)
    assert "names no dependencies" in kernel.run("%config IpyTilt.rerun = {'after': 5}").stderr
    kernel.good("%config IpyTilt.rerun = {}")
    assert kernel.good("print(s['after'].rerun_with)").stdout.strip() == "()"


def test_a_directory_that_is_not_there_is_named(kernel: Kernel, tmp_path: Path) -> None:
    kernel.good("%config IpyTilt.directory = '/not/there'")
    assert "There is no directory /not/there" in kernel.run("%tilt").shown_error
    kernel.good("%config IpyTilt.directory = ''")
    (tmp_path / "gone").mkdir()
    kernel.good("os.chdir('gone')\nos.rmdir('../gone')")
    assert "The kernel's directory is gone" in kernel.run("%tilt").shown_error
    kernel.good(f"os.chdir({str(tmp_path)!r})")
    assert kernel.good("%tilt").text.startswith("Engine: none")


def test_the_engine_can_be_named_until_the_session_starts(kernel: Kernel) -> None:
    kernel.good("%tilt --engine docker status")
    kernel.good(tiltfile("local_resource('a', 'true')", "--engine sandbox"))
    assert kernel.good("%tilt engine").text.startswith("sandbox")
    refused = kernel.run(tiltfile("local_resource('b', 'true')", "--engine docker"))
    assert "already runs with engine 'sandbox'" in refused.shown_error
    assert "b" not in kernel.good("%tilt wait").text
    kernel.good("%tilt --engine sandbox status")


@pytest.mark.parametrize("line", ["--engine", "--engine kubernetes", "status --engine -- x"])
def test_an_engine_that_does_not_exist(kernel: Kernel, line: str) -> None:
    shown = kernel.run(f"%tilt {line}").shown_error
    assert "unknown engine" in shown
    assert "one of: auto, docker, sandbox" in shown


def test_an_environment_variable_with_nonsense_is_named(kernel: Kernel) -> None:
    kernel.good("before = os.environ['IPYTILT_ENGINE']\nos.environ['IPYTILT_ENGINE'] = 'podmann'")
    assert "IPYTILT_ENGINE=podmann: unknown engine" in kernel.run("%tilt").shown_error
    kernel.good("os.environ['IPYTILT_ENGINE'] = before")
    kernel.good("%tilt")


def test_docker_by_name_without_a_daemon(kernel: Kernel) -> None:
    kernel.good("os.environ['DOCKER_HOST'] = 'unix:///nobody/listens.sock'")
    try:
        output = kernel.run("%tilt --engine docker engine")
        assert "/nobody/listens.sock" in output.shown_error
        assert "Try:" in output.shown_error
        assert "Traceback" not in output.shown_error
    finally:
        kernel.good("del os.environ['DOCKER_HOST']")


def test_auto_without_a_daemon_is_the_sandbox_and_says_why(kernel: Kernel) -> None:
    kernel.good("os.environ['DOCKER_HOST'] = 'unix:///nobody/listens.sock'; del os.environ['IPYTILT_ENGINE']")
    try:
        kernel.good(tiltfile("local_resource('a', 'true')"))
        kernel.good("%tilt wait")
        assert kernel.good("%tilt engine").text.startswith("sandbox")
        assert "Engine: sandbox" in kernel.good("%tilt").text
        assert "because no Docker daemon answers" in kernel.good("%tilt logs").text
    finally:
        kernel.good("del os.environ['DOCKER_HOST']; os.environ['IPYTILT_ENGINE'] = 'sandbox'")


def test_a_configuration_file_counts_and_its_mistakes_are_named(tmp_path: Path) -> None:
    profile = tmp_path / ".ipython/profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_kernel_config.py").write_text("c.IpyTilt.engine = 'sandbox'\nc.IpyTilt.log_bytes = 70000\n")
    with kernel_in(tmp_path, IPYTILT_ENGINE="docker") as kernel:
        kernel.good("%load_ext ipytilt")
        assert kernel.good("%tilt engine").text.startswith("sandbox")
        assert "70000" in kernel.good("%config IpyTilt").stdout
        kernel.good("%unload_ext ipytilt\nget_ipython().config.IpyTilt.engine = 'bogus'")
        wrong = kernel.run("%load_ext ipytilt").shown_error
        assert wrong.startswith("c.IpyTilt: The 'engine' trait")
        assert "not the str 'bogus'" in wrong
        assert kernel.good(LEFT).stdout.strip() == NOTHING
        kernel.good("get_ipython().config.IpyTilt.engine = 'sandbox'\n%load_ext ipytilt")
        assert kernel.good("%tilt engine").text.startswith("sandbox")
