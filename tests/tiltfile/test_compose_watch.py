"""`develop.watch` of Compose files as live-update rules: what each rule becomes, and what a changed file then does."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ipytilt.core.explain import WhatIf, what_if
from ipytilt.core.lint import lint
from ipytilt.core.spec import ComposeProject, LiveUpdate, Spec
from ipytilt.tiltfile.compose_files import effective
from ipytilt.tiltfile.compose_reader import read_config
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.host import DiskHost
from tests.support.core import World
from tests.tiltfile.evaluated import ROOT, evaluate

BUILT = "    build: .\n"
TILTFILE = "docker_compose('c.yml')"
FILES = {"src/a.py": "", "conf/x": "", "web/i.html": ""}


def compose(*rules: str, service: str = BUILT, more: str = "") -> str:
    """A Compose file with these rules, the first of which stands in line 6."""
    listed = "".join(f"      - {rule}\n" for rule in rules)
    return f"services:\n  web:\n{service}    develop:\n      watch:\n{listed}{more}"


def asked_for(text: str, tiltfile: str = TILTFILE) -> Spec:
    return evaluate(tiltfile, {"c.yml": text, **FILES}).spec


def rules_of(text: str, tiltfile: str = TILTFILE) -> LiveUpdate:
    (image,) = asked_for(text, tiltfile).images.values()
    assert image.live_update is not None
    return image.live_update


def told(text: str) -> list[str]:
    return [f"{warning.origin}: {warning}" for warning in asked_for(text).warnings]


def changed(text: str, path: str, tiltfile: str = TILTFILE) -> WhatIf:
    return what_if(World(asked_for(text, tiltfile)).state, posixpath.normpath(f"{ROOT}/{path}"))


@dataclass(frozen=True)
class Case:
    """A changed file: what is done for it."""

    rules: tuple[str, ...]
    path: str
    action: str
    steps: tuple[str, ...] = ()
    service: str = BUILT


COPY = "copy /root/{} to {} (or remove it there)"
SYNC = "{action: sync, path: src, target: /app/src, ignore: [gen/]}"
REBUILD = "{action: rebuild, path: package.json}"
RESTART = "{action: sync+restart, path: conf, target: /etc/app/}"
EXEC = "{action: sync+exec, path: web, target: srv, exec: {command: nginx -s 'reload now'}}"
ALL = (SYNC, REBUILD, RESTART, EXEC)
ONLY_SOURCES = "{action: rebuild, path: ., ignore: [src/, '*.md']}"
MOUNTED = BUILT + "    volumes: ['./conf:/conf', './src:/src']\n"

CASES = [
    Case(ALL, "src/a.py", "live update", (COPY.format("src/a.py", "/app/src/a.py"),)),
    Case(ALL, "src/gen/a.py", ""),
    Case(ALL, "package.json", "full update", ("deploy",)),
    Case(ALL, "README", "full update", ("deploy",)),
    Case(ALL, "conf/x", "live update", (COPY.format("conf/x", "/etc/app/x"), "restart the container")),
    Case(
        ALL,
        "web/i.html",
        "live update",
        (COPY.format("web/i.html", "/srv/i.html"), "run in the container: nginx -s reload now"),
    ),
    # one file, and what is in no context
    Case(
        ("{action: sync, path: conf/x, target: /etc/y}",), "conf/x", "live update", (COPY.format("conf/x", "/etc/y"),)
    ),
    Case(
        ("{action: sync, path: ../lib, target: /lib}",),
        "../lib/l.py",
        "live update",
        ("copy /lib/l.py to /lib/l.py (or remove it there)",),
    ),
    Case(("{action: rebuild, path: ../lib}",), "../lib/l.py", "full update", ("deploy",)),
    # without a copy
    Case(("{action: restart, path: conf}",), "conf/x", "live update", ("restart the container",)),
    Case(("{action: restart, path: conf}",), "conf/x", "live update", ("restart the container",), MOUNTED),
    Case(("{action: restart, path: conf/x}",), "conf/x", "live update", ("restart the container",), MOUNTED),
    Case(("{action: restart, path: conf/x}",), "conf/y", "", (), MOUNTED),
    Case(("{action: restart, path: conf}",), "src/a.py", "", (), MOUNTED),
    # which files a rule is about
    Case(
        ("{action: sync, path: src, target: /s, include: ['*.py', '!b.py']}",),
        "src/a.py",
        "live update",
        (COPY.format("src/a.py", "/s/a.py"),),
    ),
    Case(("{action: sync, path: src, target: /s, include: ['*.py', '!b.py']}",), "src/b.py", ""),
    Case(("{action: sync, path: src, target: /s, include: ['*.py']}",), "src/in/a.py", ""),
    Case(("{action: sync, path: src, target: /s, include: ['**/*.py'], ignore: [a.py]}",), "src/a.py", ""),
    Case((ONLY_SOURCES, SYNC), "src/a.py", "live update", (COPY.format("src/a.py", "/app/src/a.py"),)),
    Case((ONLY_SOURCES, SYNC), "src/gen/a.py", ""),
    Case((ONLY_SOURCES, SYNC), "README.md", ""),
    Case((ONLY_SOURCES, SYNC), "other", "full update", ("deploy",)),
    # several rules for one file: all of them count
    Case(
        ("{action: sync, path: ., target: /app}", "{action: sync+restart, path: conf, target: /etc}"),
        "conf/x",
        "live update",
        (COPY.format("conf/x", "/app/conf/x"), COPY.format("conf/x", "/etc/x"), "restart the container"),
    ),
    Case(("{action: sync, path: ., target: /app}", REBUILD), "package.json", "full update", ("deploy",)),
    # nobody builds the image
    Case((SYNC,), "src/a.py", "live update", (COPY.format("src/a.py", "/app/src/a.py"),), "    image: nginx\n"),
    Case((SYNC,), "src/gen/a.py", "", (), "    image: nginx\n"),
    Case((SYNC,), "README", "", (), "    image: nginx\n"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path}-{case.action or 'nothing'}")
def test_what_a_changed_file_does(case: Case) -> None:
    answer = changed(compose(*case.rules, service=case.service), case.path)
    found = [(effect.action, effect.steps) for effect in answer.effects]
    assert found == ([(case.action, case.steps)] if case.action else [])


def test_the_chain_names_the_rule_and_its_line() -> None:
    lines = [str(one.origin) for one in changed(compose(*ALL), "web/i.html").effects[0].because]
    assert lines == [f"{ROOT}/c.yml:9"] * 2
    lines = [str(one.origin) for one in changed(compose(*ALL), "src/gen/a.py").because]
    assert lines == [f"{ROOT}/c.yml:6"]


def test_lines_of_several_files_in_their_order() -> None:
    spec = evaluate(
        "docker_compose(['c.yml', 'd.yml'])",
        {"c.yml": compose(REBUILD, SYNC), "d.yml": compose("{action: restart, path: conf}", service="")},
    ).spec
    (image,) = spec.images.values()
    rules = image.live_update
    assert rules is not None
    assert [str(rules.stop_paths[0].origin), str(rules.syncs[0].origin)] == [f"{ROOT}/c.yml:6", f"{ROOT}/c.yml:7"]
    assert str(rules.restart_on[0].origin) == f"{ROOT}/d.yml:5"


def test_a_rule_that_is_inherited_has_a_file() -> None:
    text = "services:\n  web: {extends: {service: base, file: b.yml}}\n"
    base = "services:\n  base: {image: x, develop: {watch: [{action: sync, path: src, target: /s}]}}\n"
    (image,) = evaluate(TILTFILE, {"c.yml": text, "b.yml": base}).spec.images.values()
    assert image.live_update is not None
    assert str(image.live_update.syncs[0].origin) == f"{ROOT}/c.yml"


@pytest.mark.parametrize(
    "hook, argv",
    [
        ("{command: make all}", ("make", "all")),
        ("{command: [make, a b]}", ("make", "a b")),
        ("{command: make, working_dir: /a b}", ("sh", "-c", "cd '/a b' && make")),
        ("{command: [a, b c], environment: {X: 1, Y: }}", ("sh", "-c", "X=1 a 'b c'")),
        ("{command: a, environment: [X=1 2, Y]}", ("sh", "-c", "X='1 2' a")),
    ],
)
def test_what_is_run(hook: str, argv: tuple[str, ...]) -> None:
    rules = rules_of(compose(f"{{action: sync+exec, path: src, target: /s, exec: {hook}}}"))
    assert [run.argv for run in rules.runs] == [argv]


def test_a_new_container_is_filled_by_the_rules_that_ask_for_it() -> None:
    asking = "{action: sync, path: src, target: /s, initial_sync: true}"
    rules = rules_of(compose(asking, RESTART, REBUILD))
    assert (rules.initial_sync, [sync.initial for sync in rules.syncs]) == (True, [True, False])
    assert not rules_of(compose(SYNC)).initial_sync


@pytest.mark.parametrize(
    "rule, service, problem",
    [
        (REBUILD, "    image: nginx\n", "rebuild /root/package.json is left out: the service has no build section"),
        ("{action: sync, path: src}", BUILT, "sync /root/src is left out: it has no target"),
        ("{action: sync+exec, path: src, target: /s, exec: {user: me}}", BUILT, "its exec has no command"),
        ("{action: sync, path: src/in, target: /s}", MOUNTED, "the container has /root/src mounted"),
        (
            "{action: sync+exec, path: web, target: /s, exec: {command: x, user: me}}",
            BUILT,
            "exec.user is passed over, the command runs as the container's own user",
        ),
    ],
)
def test_what_cannot_be_done_is_said(rule: str, service: str, problem: str) -> None:
    (warning,) = told(compose(rule, service=service))
    line = 6 + service.count("\n") - 1
    assert warning.startswith(f"{ROOT}/c.yml:{line}: develop.watch of web: ")
    assert problem in warning


def test_rules_of_services_that_share_an_image() -> None:
    other = "  worker:\n    image: shared\n    develop:\n      watch: [{}]\n"
    shared = "    image: shared\n    build: .\n"
    assert told(compose(SYNC, service=shared, more=other.format(SYNC))) == []
    (warning,) = told(compose(SYNC, service=shared, more=other.format(RESTART)))
    assert "it is passed over: shared has that of another service, /root/c.yml:7" in warning
    spec = asked_for(compose(SYNC, service=shared, more="  worker: {image: shared}\n"))
    assert [resource.images for resource in spec.resources] == [("shared",), ("shared",)]


def test_a_tiltfile_that_says_how_to_update_is_believed() -> None:
    own = "docker_build('web', '.', live_update=[sync('web', '/x')])\n" + TILTFILE
    rules = rules_of(compose(SYNC, service="    image: web\n"), own)
    assert [sync.container for sync in rules.syncs] == ["/x"]
    silent = "docker_build('web', '.')\n" + TILTFILE
    rules = rules_of(compose(SYNC, service="    image: web\n"), silent)
    assert [sync.container for sync in rules.syncs] == ["/app/src"]


def test_only_rebuilding_is_no_live_update() -> None:
    (image,) = asked_for(compose("{action: rebuild, path: ../lib}")).images.values()
    assert (image.live_update, image.watched) == (None, (ROOT, "/lib"))


def test_the_lint_does_not_take_a_narrowed_rule_for_all_of_its_path() -> None:
    spec = asked_for(compose(ONLY_SOURCES, SYNC))
    assert [finding.rule for finding in lint(spec, lambda _: True)] == []


WRONG = [
    ("develop: {wtch: []}", "develop"),
    ("develop: {watch: {}}", "develop.watch"),
    ("develop: {watch: [{path: x}]}", "action is required"),
    ("develop: {watch: [{action: rebuild}]}", "path is required"),
    ("develop: {watch: [{action: foo, path: x}]}", "develop.watch.0.action must be one of"),
    ("develop: {watch: [{action: rebuild, path: 5}]}", "path must be a string"),
    ("develop: {watch: [{action: rebuild, path: x, foo: 1}]}", "develop.watch.0"),
]


@pytest.mark.parametrize("section, problem", WRONG)
def test_what_no_section_may_say(section: str, problem: str) -> None:
    with pytest.raises(Exception, match=problem.replace(".", r"\.")):
        asked_for(f"services: {{a: {{image: x, {section}}}}}")


def project(directory: str) -> ComposeProject:
    return ComposeProject("p", (f"{directory}/c.yml",), directory)


@pytest.mark.compose
@pytest.mark.parametrize("section", [section for section, _ in WRONG])
def test_the_cli_refuses_the_same(section: str, tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text(f"services: {{a: {{image: x, {section}}}}}")
    with pytest.raises(Wrong, match="exit status"):
        effective(project(str(tmp_path)), DiskHost(), cancelled=lambda: False)


@pytest.mark.compose
def test_reader_and_cli_agree(tmp_path: Path) -> None:
    text = compose(SYNC, REBUILD, RESTART, EXEC.replace("nginx -s 'reload now'", "[nginx, -s]"))
    (tmp_path / "c.yml").write_text(text)
    wanted = project(str(tmp_path))
    by_cli = effective(wanted, DiskHost(), cancelled=lambda: False)["services"]["web"]["develop"]["watch"]
    alone = read_config(wanted, DiskHost())["services"]["web"]["develop"]["watch"]
    assert [{k: v for k, v in rule.items() if v != {"command": None}} for rule in by_cli] == alone


def test_an_older_evaluation_is_the_same_without_the_section() -> None:
    """What Tilt would see: the service as it is, built from its context."""
    plain = asked_for("services:\n  web:\n    build: .\n")
    narrowed = asked_for(compose(SYNC))
    with_section, without = narrowed.images["root_web"], plain.images["root_web"]
    assert replace(with_section, live_update=None, watch_ignores=without.watch_ignores) == without
