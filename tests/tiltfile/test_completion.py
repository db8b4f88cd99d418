"""What completion offers and help shows, by tables: text with a bar where the cursor stands."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipytilt.tiltfile import manual
from ipytilt.tiltfile.completion import Completion, Known, complete, describe
from tests.tiltfile.cases import CASES

FILES = {
    "/root": [("web", True), ("api", True), ("Tiltfile", False), (".env", False), ("with'quote", False)],
    "/root/web": [("index.html", False), ("js", True)],
    "/etc": [("hosts", False)],
}
KNOWN = Known(
    texts=("port = 1\ndef deploy(name, replicas=1):\n  'Deploys.'\n", "local_resource('first', 'x')"),
    resources=("web", "db", "_private"),
    services=("web",),
    workloads=("db",),
    images=("my/img",),
    labels=("back",),
    containers=("/app",),
    directory="/root",
)


def listing(folder: str) -> Iterable[tuple[str, bool]]:
    return FILES.get(folder, [])


def reading(path: str) -> str:
    library = "load('x', 'y')\nsetting = 1\n_private = 2\ndef helper(a):\n  inner = 1\n"
    return library if path == "/root/web/lib" else ""


def at(text: str) -> Completion:
    return complete(text.replace("|", "", 1), text.index("|"), KNOWN, listing=listing, reading=reading)


def offered(text: str) -> list[str]:
    return [offer.text for offer in at(text).offers]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("os.path.jo|", ["join"]),
        ("os.pa|", ["path"]),
        ("config.def|", ["define_bool", "define_object", "define_string", "define_string_list"]),
        ("v1alpha1.ui_b|", ["ui_bool_input_spec", "ui_button"]),
        ("sys.|", ["argv", "executable"]),
        ("docker_b|", ["docker_build"]),
        ("TRIGGER|", ["TRIGGER_MODE_AUTO", "TRIGGER_MODE_MANUAL"]),
        ("shl|", ["shlex"]),
        ("whi|", ["while"]),
        ("Tr|", ["True"]),
        ("unknown.|", []),
        ("'text'.|", []),
        # names of this and of earlier cells
        ("replies = 1\nrepli|", ["replies", "replicas"]),
        ("repli|\nreplies = 1", ["replies", "replicas"]),
        ("for item in x:\n  ite|", ["item"]),
        ("load('./x', 'thing', other='y')\nthi|", ["thing"]),
        ("def f(parameter):\n  param|", ["parameter"]),
        ("depl|", ["deploy"]),
        # parameters
        ("local_resource('a', serve_|", ["serve_cmd=", "serve_cmd_bat=", "serve_env=", "serve_dir="]),
        ("local_resource('a', serve_cmd='x', serve_|", ["serve_cmd_bat=", "serve_env=", "serve_dir="]),
        ("docker_build('a', '.', cont|", ["container_args=", "continue"]),
        ("deploy('a', repl|", ["replicas=", "replicas"]),
        ("docker_build('a', build_args=bui|", []),
        ("docker_build_with_restart('a', '.', ent|", ["entrypoint="]),
        # values
        ("local_resource('a', auto_init=T|", ["True", "TRIGGER_MODE_AUTO", "TRIGGER_MODE_MANUAL"]),
        ("local_resource('a', trigger_mode=T|", ["TRIGGER_MODE_AUTO", "TRIGGER_MODE_MANUAL", "True"]),
        ("docker_build('a', '.', live_update=[sy|", ["sync", "sys"]),
        ("probe(exec=ex|", ["exec_action", "exit", "experimental_analytics_report", "experimental_metrics_settings",
                            "experimental_telemetry_cmd"]),
        ("v1alpha1.ui_button('a', location=v|", ["v1alpha1.ui_component_location", "version_settings", "v1alpha1"]),
        # strings
        ("read_file('|", ["Tiltfile", "api/", "web/", "with'quote"]),
        ("read_file('./we|", ["web/"]),
        ("read_file('web/|", ["index.html", "js/"]),
        ("read_file('web/../|", ["Tiltfile", "api/", "web/", "with'quote"]),
        ("read_file('.e|", [".env"]),
        ("read_file('/etc/ho|", ["hosts"]),
        ("read_file('nowhere/|", []),
        ("k8s_yaml(['web/in|", ["index.html"]),
        ("docker_compose('we|", ["web/"]),
        ("docker_build('a', 'w|", ["web/", "with'quote"]),
        ("docker_build('a', 'web', only=['|", ["index.html", "js/"]),
        ("docker_build('a', '.', dockerfile='web/i|", ["index.html"]),
        ("docker_build('a', '.', live_update=[sync('web/|", ["index.html", "js/"]),
        ("docker_build('a', '.', live_update=[sync('web', '|", ["/app"]),
        ("run('x', trigger=['ap|", ["api/"]),
        ("run('ap|", []),
        ("local_resource('a', 'ap|", []),
        ("local_resource('a', 'x', deps=['a', 'ap|", ["api/"]),
        ("local_resource('a', 'x', resource_deps=['|", ["web", "db", "_private", "first"]),
        ("local_resource('web', 'x', resource_deps=['|", ["db", "_private", "first"]),
        ("local_resource('web', 'x', labels='|", ["back"]),
        ("config.set_enabled_resources(['w|", ["web"]),
        ("k8s_resource('|", ["db"]),
        ("dc_resource('|", ["web"]),
        ("docker_build('|", ["my/img"]),
        ("docker_build('new', '.')\ncustom_build('x', 'y', [], image_deps=['|", ["my/img", "new"]),
        ("k8s_resource('a', pod_readiness='|", ["wait", "ignore", "succeeded"]),
        ("include('we|", ["web/"]),
        ("load('|", ["Tiltfile", "api/", "web/", "with'quote", "ext://"]),
        ("load('ext:|", ["ext://restart_process", "ext://uibutton"]),
        ("load('ext://uibutton', 'cmd|", ["cmd_button"]),
        ("load('ext://uibutton', 'cmd_button')\ncmd_button('a', requ|", ["requires_confirmation="]),
        ("cmd_bu|", []),
        ("load('ext://restart_process', 'doc|", ["docker_build_with_restart"]),
        ("load('./web/lib', '|", ["setting", "helper"]),
        ("load('web/lib', 'helper', s='se|", ["setting"]),
        ("load('./nowhere', '|", []),
        ("load('ext://other', '|", []),
        ("x = 'we|", []),
        ("print('we|", []),
        ("local_resource('a', env={'PATH': '|", []),
        # nothing to say
        ("# os.|", []),
        ("def do|", []),
        ("x = 12|", []),
    ],
)  # fmt: skip
def test_what_is_offered(text: str, expected: list[str]) -> None:
    assert offered(text) == expected


@pytest.mark.parametrize(
    "text, replaced",
    [
        ("os.path.jo|", "jo"),
        ("read_file('web/in|", "in"),
        ("k8s_resource('d|", "d"),
        ("x |", ""),
        ("docker_b|uild", "docker_b"),
    ],
)
def test_what_is_replaced(text: str, replaced: str) -> None:
    assert text[at(text).start : text.index("|")] == replaced


def test_parameters_come_first_then_what_the_user_named() -> None:
    found = offered("deploy(|")
    assert found[:2] == ["name=", "replicas="]
    assert found.index("deploy") < found.index("docker_build") < found.index("while")


def test_private_names_are_offered_to_those_who_begin_them() -> None:
    assert "_mine" not in offered("_mine = 1\n|")
    assert offered("_mine = 1\n_m|") == ["_mine"]


def test_every_offer_has_a_type() -> None:
    types = {offer.type for text in ("|", "os.|", "deploy(|", "read_file('|") for offer in at(text).offers}
    assert types == {"function", "instance", "keyword", "module", "param", "path"}


def test_a_long_cell_is_read_around_the_cursor() -> None:
    lines = "".join(f"name_{number} = [\n  'x',\n]\n" for number in range(3000))
    assert offered(f"{lines}local_resource('a', serve_c|") == ["serve_cmd=", "serve_cmd_bat="]
    assert offered(f"{lines}name_299|{lines}")[0] == "name_2990"
    assert describe(lines + "len(", len(lines) + 4, KNOWN).startswith("len(x)")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_nothing_goes_wrong_anywhere_in_a_tiltfile(case: object) -> None:
    text = getattr(case, "text", "")
    for offset in range(len(text) + 1):
        found = complete(text, offset, KNOWN, listing=listing, reading=reading)
        assert 0 <= found.start <= offset
        assert all(offer.text.startswith(text[found.start : offset]) for offer in found.offers)
        describe(text, offset, KNOWN)


@settings(max_examples=200)
@given(st.text(max_size=80), st.integers(0, 80))
def test_nothing_goes_wrong_in_any_text(text: str, offset: int) -> None:
    complete(text, min(offset, len(text)), KNOWN, listing=listing, reading=reading)
    describe(text, min(offset, len(text)), KNOWN)


# ---------------------------------------------------------------------------------------------- help


def said(text: str) -> str:
    return describe(text.replace("|", "", 1), text.index("|"), KNOWN)


@pytest.mark.parametrize(
    "text, first, words",
    [
        ("docker_bu|ild('a')", "docker_build(ref, context,", "Build an image from a Dockerfile"),
        ("docker_build('a', '|')", "docker_build(", "context: a path"),
        ("docker_build('a', '.', onl|y=['x'])", "docker_build(", "only: a string, or a list of strings\n    `"),
        ("docker_build('a', '.', live_update=[sync(|", "sync(local_path, remote_path)", "local_path: a string"),
        ("v1alpha1.ui_button(location=|", "v1alpha1.ui_button(", "v1alpha1.ui_component_location(...) or a dict"),
        ("os.pa|th.join(x)", "os.path: a module", "os.path.join(*parts)"),
        ("os.path.join(|x)", "os.path.join(*parts)", ""),
        ("config.main_di|r", "config.main_dir", ""),
        ("deploy(|", "deploy(name, replicas=1)", "Deploys."),
        ("docker_build_with_restart(|", "docker_build_with_restart(ref, context,", "restart the container's"),
        ("cmd_button('a', inputs=|", "cmd_button(name, resource", "inputs: a list of dicts"),
        ("def len(x):\n  'Mine.'\nlen(|", "len(x)", "Mine."),
        ("len(|", "len(x)", "number of elements"),
    ],
)  # fmt: skip
def test_help(text: str, first: str, words: str) -> None:
    assert said(text).startswith(first)
    assert words in said(text)


@pytest.mark.parametrize("text", ["nobody|", "|", "'docker_build|'", "# docker_build|", "x = 1|", "unknown(1|)"])
def test_no_help(text: str) -> None:
    assert said(text) == ""


def test_long_signatures_are_broken_between_parameters() -> None:
    lines = manual.wrapped(manual.entries()["docker_build"].signature).splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 100 and not line.endswith("=") for line in lines)
    joined = " ".join(line.strip() for line in lines)
    assert joined == manual.entries()["docker_build"].signature


@pytest.mark.parametrize("entry", manual.entries().values(), ids=lambda entry: str(entry.name))
def test_every_name_is_documented(entry: manual.Entry) -> None:
    assert entry.doc, f"{entry.name} has no docstring"
    assert entry.summary.endswith((".", ":"))
    assert "(...)" not in entry.signature, f"{entry.name} does not say what it takes"
    assert all(manual.takes(parameter) != parameter.kind.word for parameter in entry.parameters)


def test_the_documented_names_are_all_there_is() -> None:
    assert {"docker_build", "os.path.join", "config.main_dir", "len", "TRIGGER_MODE_AUTO"} <= manual.entries().keys()
    assert manual.modules() == {"config", "os", "os.path", "shlex", "sys", "v1alpha1"}
