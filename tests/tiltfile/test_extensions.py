"""Extensions: where they are found, how repositories are fetched with the real git, and the one of our own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ipytilt.core.buttons import environment
from ipytilt.core.events import Source
from ipytilt.core.spec import DockerBuild
from ipytilt.errors import UsageError
from ipytilt.tiltfile.builtins.extensions import Backoff
from ipytilt.tiltfile.host import DiskHost
from ipytilt.tiltfile.load import Loaded, LoadError, load
from tests.tiltfile.cases_k8s import objects
from tests.tiltfile.evaluated import ROOT, evaluate

HELLO = "def hello():\n  return 'hello from ' + os.path.basename(os.getcwd())\nprint(os.getcwd())\n"
FILES = {
    "/ext/hello/Tiltfile": HELLO,
    "/ext/deep/er/Tiltfile": "x = 1\n",
    "/ext/runs/Tiltfile": "local_resource('-'.join(config.main_dir.split('/')[1:]), 'x')",
}
HERE = "v1alpha1.extension_repo('default', url='file:///ext')\n"
NAMED = "v1alpha1.extension_repo('mine', url='file:///ext', load_host='corp')\n"


@pytest.mark.parametrize(
    "text, printed",
    [
        (f"{HERE}load('ext://hello', 'hello')\nprint(hello())", ("/ext/hello", "hello from root")),
        (f"{NAMED}load('ext://corp/hello', 'hello')", ("/ext/hello",)),
        (f"{NAMED}load('ext://corp/deep/er', 'x')\nprint(x)", ("1",)),
        (f"{HERE}print(load_dynamic('ext://deep/er'))", ('{"x": 1}',)),
        (f"{HERE}include('ext://hello')\ninclude('ext://hello')", ("/ext/hello",)),
        (
            f"{NAMED}v1alpha1.extension('a_b', repo_name='mine', repo_path='hello')\ninclude('ext://a/b')",
            ("/ext/hello",),
        ),
    ],
)
def test_where_extensions_are_found(text: str, printed: tuple[str, ...]) -> None:
    assert evaluate(text, FILES).log == printed


def test_an_extension_is_a_config_file() -> None:
    assert "/ext/hello/Tiltfile" in evaluate(f"{HERE}include('ext://hello')", FILES).reads


@pytest.mark.parametrize(
    "text, message",
    [
        (f"{HERE}include('ext://none')", "loading extension none: no extension tiltfile found at /ext/none/Tiltfile"),
        (f"{HERE}include('ext://../x')", "invalid repo path: ../x"),
        ("v1alpha1.extension_repo('default', url='file:///no')\ninclude('ext://x')", "/no is no directory"),
        ("include('ext://x')", "no folder to keep extensions in"),
        ("v1alpha1.extension_repo('r', url='ext')", "URLs must start with http(s):// or file://"),
        ("v1alpha1.extension_repo('r', url='file://rel')", "must be absolute paths"),
        ("v1alpha1.extension_repo('r', url='file:///a', ref='v1')", "spec.ref: not supported on file://"),
        (
            "v1alpha1.extension_repo('r', url='file:///a', git_subpath='v1')",
            "spec.git_subpath: not supported on file://",
        ),
        ("v1alpha1.extension_repo('r', url='https://a', ref='--x')", "is no git reference"),
        (f"{HERE}v1alpha1.extension('none', repo_name='default', repo_path='none')", "no extension tiltfile found"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        evaluate(text, FILES)
    assert message in caught.value.message


def test_an_extension_nobody_loads_runs_on_its_own() -> None:
    text = f"{HERE}local_resource('mine', 'x')\nv1alpha1.extension('e', repo_name='default', repo_path='runs')"
    loaded = evaluate(text, FILES)
    assert [(r.name, r.labels) for r in loaded.spec.resources] == [("mine", ()), ("ext-runs", ("extension.e",))]
    assert loaded.spec.enabled == {"mine", "ext-runs"}


def test_arguments_of_an_extension() -> None:
    files = {"/ext/args/Tiltfile": "config.define_string_list('a', args=True)\nprint(config.parse())"}
    text = f"{HERE}v1alpha1.extension('e', repo_name='default', repo_path='args', args=['x', 'y'])"
    assert evaluate(text, files).log == ('{"a": ["x", "y"]}',)


def test_what_an_extension_may_not_take() -> None:
    text = f"{HERE}local_resource('ext-runs', 'x')\nv1alpha1.extension('e', repo_name='default', repo_path='runs')"
    with pytest.raises(LoadError, match='extension e: a resource named "ext-runs" already exists'):
        evaluate(text, FILES)


# ---------------------------------------------------------------------------------------------- git


class Remote:
    """A git repository that stands for `https://example.org/ext` in the world of a test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "remote"
        self.root = folder / "root"
        self.root.mkdir()
        for name, value in {
            "XDG_DATA_HOME": str(folder / "data"),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.file://{self.folder}.insteadOf",
            "GIT_CONFIG_VALUE_0": "https://example.org/ext",
        }.items():
            monkeypatch.setenv(name, value)
        self.git("init", "--quiet", "-b", "main", str(self.folder))
        self.commit("v = 1")

    def git(self, *words: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(["git", *who, *words], check=True, cwd=self.folder.parent)

    def commit(self, text: str) -> None:
        (self.folder / "sub" / "e").mkdir(parents=True, exist_ok=True)
        (self.folder / "sub" / "e" / "Tiltfile").write_text(text)
        self.git("-C", str(self.folder), "add", ".")
        self.git("-C", str(self.folder), "commit", "--quiet", "-m", text)

    def load(self, more: str = "") -> Loaded:
        """Print `v` of the extension."""
        (self.root / "Tiltfile").write_text(
            f"v1alpha1.extension_repo('default', url='https://example.org/ext', git_subpath='sub'{more})\n"
            "load('ext://e', 'v')\nprint(v)"
        )
        return load([Source("k", "Tiltfile", str(self.root), path=str(self.root / "Tiltfile"))], (), DiskHost())


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    return Remote(tmp_path, monkeypatch)


def test_a_repository_is_cloned_once(remote: Remote) -> None:
    assert remote.load().log == ("1",)
    remote.commit("v = 2")
    assert remote.load().log == ("1",)


def test_a_clone_of_another_session_is_refreshed(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.load()
    remote.commit("v = 2")
    monkeypatch.setattr("ipytilt.tiltfile.builtins.extensions._refreshed", set())
    assert remote.load(", ref='HEAD'").log == ("2",)


def test_without_the_remote_the_clone_serves(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.load()
    remote.folder.rename(remote.folder.with_name("gone"))
    monkeypatch.setattr("ipytilt.tiltfile.builtins.extensions._refreshed", set())
    log = remote.load().log
    assert "could not be refreshed" in log[0]
    assert log[-1] == "1"


def test_a_ref_is_checked_out_and_stays(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.git("-C", str(remote.folder), "tag", "v1")
    remote.commit("v = 2")
    assert remote.load(", ref='v1'").log == ("1",)
    assert remote.load().log == ("2",)
    remote.folder.rename(remote.folder.with_name("gone"))
    monkeypatch.setattr("ipytilt.tiltfile.builtins.extensions._refreshed", set())
    assert remote.load(", ref='v1'").log == ("1",)


def test_a_failed_download_leaves_nothing_behind(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]
    monkeypatch.setattr("ipytilt.tiltfile.builtins.extensions._downloads", Backoff(lambda: seconds[0]))
    with pytest.raises(LoadError, match="loading extension repo default: download error") as caught:
        remote.load(", ref='none'")
    assert "after 5 s" in caught.value.hint
    remote.git("-C", str(remote.folder), "tag", "none")
    with pytest.raises(LoadError, match="loading extension repo default: download error"):
        remote.load(", ref='none'")
    seconds[0] = 5.0
    assert remote.load(", ref='none'").log == ("1",)


def test_waiting_before_a_download_is_tried_again() -> None:
    now = [0.0]
    backoff = Backoff(lambda: now[0], first=5, longest=15)
    assert (backoff.waiting("a"), backoff.seconds_left("a")) == ("", 0)
    for seconds in (5, 10, 15, 15):
        backoff.failed("a", "no network")
        assert (backoff.waiting("a"), backoff.waiting("b")) == ("no network", "")
        assert backoff.seconds_left("a") == seconds
        now[0] += seconds
        assert backoff.waiting("a") == ""
    backoff.succeeded("a")
    backoff.failed("a", "again")
    assert backoff.seconds_left("a") == 5


# ---------------------------------------------------------------------------------------------- restart_process

RESTART = (
    "load('ext://restart_process', 'docker_build_with_restart', 'custom_build_with_restart')\nk8s_yaml('k.yaml')\n"
)
STEPS = "live_update=[sync('.', '/app')]"


@pytest.mark.parametrize(
    "call",
    [
        f"docker_build_with_restart('img', '.', 'run me', {STEPS})",
        f"docker_build_with_restart('img', context='.', entrypoint=['sh', '-c', 'run me'], {STEPS}, only=['.'])",
        "docker_build_with_restart('img', '.', 'run me', sync('.', '/app'), '-base', '/f', exit_policy='continue')",
        f"custom_build_with_restart('img', 'make', ['.'], 'run me', {STEPS}, env={{'A': 'b'}})",
    ],
)
def test_restart_process(call: str) -> None:
    found = evaluate(RESTART + call, {"k.yaml": objects("D(a,img)")}).spec
    assert found.resources[0].images == ("img",)
    image = found.images["img"]
    assert image.live_update
    assert image.live_update.restart
    assert image.live_update.syncs[0].local == ROOT
    assert image.entrypoint == ("sh", "-c", "run me")
    if isinstance(image.build, DockerBuild):
        assert image.build.dockerfile == "FROM scratch\n"


@pytest.mark.parametrize(
    "call, message",
    [
        ("docker_build_with_restart('img', '.', 'x', [])", "requires at least one live_update step"),
        ("docker_build_with_restart('img', '.', 'x')", "docker_build_with_restart: missing argument for live_update"),
        (
            f"docker_build_with_restart('img', '.', 'x', {STEPS}, zz=1)",
            'docker_build: unexpected keyword argument "zz"',
        ),
        (
            "docker_build_with_restart('img', '.', 'x', [restart_container()])",
            "is not compatible with live_update step",
        ),
        (f"custom_build_with_restart('img', 'm', [], 'x', {STEPS}, tag='t')", "does not support `tag`"),
        ("custom_build_with_restart(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)", "got 10 arguments, want at most 9"),
    ],
)
def test_restart_process_errors(call: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        evaluate(RESTART + call, {"k.yaml": objects("D(a,img)")})
    assert message in caught.value.message


def test_restart_process_does_not_restart_for_some_files_only() -> None:
    text = f"{RESTART}docker_build_with_restart('img', '.', 'x', {STEPS}, trigger='a')"
    found = evaluate(text, {"k.yaml": objects("D(a,img)")}).spec
    assert "trigger= is not supported" in found.warnings[0]


def test_a_repository_of_the_user_s_own_comes_first() -> None:
    files = {"/ext/restart_process/Tiltfile": "docker_build_with_restart = 'mine'"}
    text = f"{HERE}load('ext://restart_process', 'docker_build_with_restart')\nprint(docker_build_with_restart)"
    assert evaluate(text, files).log == ("mine",)


PUBLIC = "v1alpha1.extension_repo('default', url='https://github.com/tilt-dev/tilt-extensions', ref='abc')\n"


def test_what_we_bring_stands_for_the_public_repository_whatever_its_ref() -> None:
    load_both = "load('ext://restart_process', 'docker_build_with_restart')\nload('ext://uibutton', 'cmd_button')\n"
    unloaded = "v1alpha1.extension('uibutton', repo_name='default', repo_path='uibutton')\n"
    for text in (PUBLIC + load_both, PUBLIC + unloaded, PUBLIC + unloaded + load_both):
        assert evaluate(text).spec.resources == ()


# ---------------------------------------------------------------------------------------------- uibutton

BUTTON = (
    "load('ext://uibutton', 'cmd_button', 'location', 'text_input', 'bool_input', 'choice_input', 'hidden_input')\n"
    "local_resource('a', 'x')\n"
)
INPUTS = "[text_input('T', default='d'), bool_input('B', true_string='y'), choice_input('C', choices=['1', '2'])]"


@pytest.mark.parametrize(
    "call",
    [
        "cmd_button('b', 'a', ['echo', 'hi'])",
        f"cmd_button(name='b', resource='a', argv=('echo',), text=None, icon_name='x', inputs={INPUTS})",
        "cmd_button('b', argv=['x'], location=location.NAV, icon_svg=blob('<svg/>'), inputs=[hidden_input('H', 'v')])",
        "cmd_button('b', argv=['x'], location='Other/place', requires_confirmation=True, disabled=True)",
    ],
)
def test_buttons(call: str) -> None:
    spec = evaluate(BUTTON + call).spec
    assert [resource.name for resource in spec.resources] == ["a"]
    assert [button.name for button in spec.buttons] == ["b"]
    assert spec.warnings == ()


def test_what_a_button_runs() -> None:
    [button] = evaluate(
        BUTTON + f"cmd_button('b', 'a', ['echo', 'hi'], text='Go', inputs={INPUTS} + [hidden_input('H', 'v')])"
    ).spec.buttons
    assert (button.text, button.resource, button.confirm, button.disabled) == ("Go", "a", False, False)
    assert (button.command.argv, button.command.dir) == (("echo", "hi"), ROOT)
    assert environment(button, {}) == {"T": "d", "B": "false", "C": "1", "H": "v"}
    assert environment(button, {"T": "t", "B": "true", "C": "2"}) == {"T": "t", "B": "y", "C": "2", "H": "v"}
    for values, problem in (
        ({"C": "3"}, "cannot be '3'"),
        ({"B": "perhaps"}, "true or false"),
        ({"H": "x"}, "no input"),
    ):
        with pytest.raises(UsageError, match=problem):
            environment(button, values)


@pytest.mark.parametrize(
    "place, beside",
    [("resource='a'", "a"), ("location=location.NAV", ""), ("resource='a', location='Resource/b'", "b")],
)
def test_where_a_button_stands(place: str, beside: str) -> None:
    [button] = evaluate(BUTTON + f"cmd_button('b', argv=['x'], {place})").spec.buttons
    assert button.beside == beside


def test_how_the_inputs_of_a_button_are_asked_for() -> None:
    inputs = "[text_input('T', 'Text', placeholder='any'), bool_input('B', 'Both'), choice_input('C', choices=['1'])]"
    [button] = evaluate(BUTTON + f"cmd_button('b', 'a', ['x'], inputs={inputs})").spec.buttons
    asked = [(one.name, one.label, one.placeholder) for one in button.inputs]
    assert asked == [("T", "Text", "any"), ("B", "Both", ""), ("C", "", "")]


def test_a_button_without_a_command_is_none() -> None:
    location = "location=v1alpha1.ui_component_location('nav', 'Global')"
    one = f"v1alpha1.ui_button('one', text='One', {location})\n"
    command = "v1alpha1.cmd('c', args=['x'], env=['A=b'], start_on=v1alpha1.start_on_spec(ui_buttons=['one']))"
    assert evaluate(one).spec.buttons == ()
    [button] = evaluate(one + command).spec.buttons
    assert (button.command.env, button.resource) == (("A=b",), "")


@pytest.mark.parametrize(
    "call, message",
    [
        ("cmd_button('b', argv=['x'])", "Must provide a resource name"),
        ("cmd_button('b', 'a')", "argv cannot be empty"),
        ("cmd_button('b', 'a', 'x')", "cmd_button: for parameter argv: value should be a List or Tuple of strings"),
        ("cmd_button('b', 'a', ['x'], location='')", "location is required"),
        ("cmd_button('b', 'a', ['x'], location='else')", "Unsupported location else"),
        ("cmd_button('b', 'a', ['x'], icon_svg='no')", "spec.iconSVG: invalid <svg> element"),
        ("cmd_button('b', 'a', ['x'], inputs=[text_input('T'), text_input('T')])", "duplicate input name"),
        ("cmd_button('b', 'a', ['x'], inputs=['T'])", "expected dict, actual: string"),
        ("cmd_button('b', 'a', ['x'])\ncmd_button('b', 'a', ['y'])", 'cmds "btn-b" already registered'),
        ("cmd_button('b', 'a', ['x'], ico='y')", 'cmd_button: unexpected keyword argument "ico"'),
    ],
)
def test_wrong_buttons(call: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        evaluate(BUTTON + call)
    assert message in caught.value.message
