"""Likely mistakes, by tables: a Tiltfile and the findings it gets; and that sound ones get none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from ipytilt.core.lint import RULES, Finding, lint, rendered
from ipytilt.tiltfile.lint import findings, refused
from tests.tiltfile.cases import CASES, Case
from tests.tiltfile.cases_k8s import CASES as KUBERNETES_CASES
from tests.tiltfile.evaluated import ROOT, cell, evaluate

IMAGE = "docker_build('img', '.', {})\ndocker_compose('c.yml')"
COMPOSE = {"c.yml": "services:\n  web: {image: img}"}
POD = "apiVersion: v1\nkind: Pod\nmetadata: {{name: {0}}}\nspec: {{containers: [{{name: c, image: other}}]}}"


@dataclass(frozen=True)
class Row:
    """A Tiltfile beside `files`, and what is found: rule, line, and words of the finding; nothing more may be found."""

    text: str
    found: tuple[tuple[str, int, str], ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.found[0][2] if self.found else self.text


def live(*steps: str, more: str = "") -> str:
    return IMAGE.format(f"live_update=[{', '.join(steps)}]{more}")


SRC = {**COMPOSE, "src/a.py": "", "src/gen/b.py": "", "other.txt": "", "deps.txt": ""}
ROWS = (
    # images
    Row(
        "docker_build('a', '.')\ndocker_build('b', '.')",
        (("unused-image", 1, "image a"), ("unused-image", 2, "image b")),
    ),
    Row("docker_build('a', '.')\nupdate_settings(suppress_unused_image_warnings='a')"),
    Row("docker_build('a', '.')\nupdate_settings(suppress_unused_image_warnings='*')"),
    Row(IMAGE.format(""), files=COMPOSE),
    Row(
        "docker_build('base', '.', live_update=[sync('src', '/s')])\n"
        "docker_build('img', '.', dockerfile_contents='FROM base')\ndocker_compose('c.yml')",
        (("unused-live-update", 1, "live_update of base is never used"),),
        SRC,
    ),
    # syncs
    Row(live("sync('src', '/s')"), files=SRC),
    Row(
        live("sync('src', '/s')"),
        (("ignored-sync", 1, "the pattern src leaves it out"),),
        {**SRC, ".dockerignore": "src"},
    ),
    Row(live("sync('src', '/s')"), files={**SRC, ".dockerignore": "src\n!src/a.py"}),
    Row(live("sync('src', '/s')"), files={**SRC, ".dockerignore": "src/gen"}),
    Row(
        live("sync('src/gen', '/s')", more=", ignore='**/gen'"), (("ignored-sync", 1, "never has anything to do"),), SRC
    ),
    Row(live("sync('other.txt', '/s')", more=", only=['src']"), (("ignored-sync", 1, "'/root/other.txt'"),), SRC),
    Row(live("sync('src', '/s')", more=", only=['src/gen']"), files=SRC),
    Row(live("sync('Dockerfile', '/s')"), (("ignored-sync", 1, "left out of the image's files"),), SRC),
    Row("watch_settings('src')\n" + live("sync('src', '/s')"), (("ignored-sync", 2, "the pattern src"),), SRC),
    Row(live("sync('new', '/s')"), (("missing-path", 1, "there is no /root/new"),), SRC),
    Row(
        live("fall_back_on('src')", "sync('src/a.py', '/s')"), (("stopped-sync", 1, "fall_back_on('/root/src')"),), SRC
    ),
    Row(live("fall_back_on('src/gen')", "sync('src', '/s')"), files=SRC),
    Row(
        "k8s_custom_deploy('a', 'x', 'y', deps=['src'], image_selector='i', live_update=[sync('other.txt', '/s')])",
        (("ignored-sync", 1, "outside of what the image watches: /root/src"),),
        SRC,
    ),
    # triggers
    Row(live("sync('src', '/s')", "run('pip', trigger='src/a.py')"), files=SRC),
    Row(live("sync('src', '/s')", "run('pip', trigger='.')"), files=SRC),
    Row(live("sync('src', '/s')", "run('pip')"), files=SRC),
    Row(live("run('pip', trigger='deps.txt')"), files=SRC),
    Row(
        live("sync('src', '/s')", "run('pip', trigger='deps.txt')"),
        (("unsynced-trigger", 1, "as it was when the image was built"),),
        SRC,
    ),
    Row(
        live("sync('src', '/s')", "run('pip', trigger=['src/a.py', 'deps.txt'])"),
        (("unsynced-trigger", 1, "its trigger 'deps.txt', which no sync covers"),),
        SRC,
    ),
    Row(
        live("fall_back_on('src/a.py')", "sync('src', '/s')", "run('pip', trigger='src/a.py')"),
        (("dead-trigger", 1, "below a fall_back_on"),),
        SRC,
    ),
    Row(
        live("sync('src', '/s')", "run('pip', trigger='src/gen')"),
        (("dead-trigger", 1, "the pattern src/gen"),),
        {**SRC, ".dockerignore": "src/gen"},
    ),
    # paths
    Row("local_resource('a', 'x', deps=['src'])", files=SRC),
    Row("local_resource('a', 'x', deps=['nope'])", (("missing-path", 1, "deps of a: there is no /root/nope"),)),
    Row("local_resource('a', 'x', deps='src/*.py')", (("missing-path", 1, "patterns are not expanded"),), SRC),
    Row("local_resource('a', 'x', deps=['src'], ignore=['src'])", (("ignored-path", 1, "/root/src is never"),), SRC),
    Row("local_resource('a', 'x', deps=['src'], ignore=['src/gen'])", files=SRC),
    Row(
        "custom_build('img', 'make', ['nope'])\ndocker_compose('c.yml')",
        (("missing-path", 1, "deps of img: there is no /root/nope"),),
        COMPOSE,
    ),
    # ports
    Row(
        "docker_compose('c.yml')",
        (("port-clash", 1, "b and a both want port 80"),),
        {"c.yml": "services:\n  a: {image: x, ports: ['80:1']}\n  b: {image: x, ports: ['80:2']}"},
    ),
    Row(
        "docker_compose('c.yml')",
        files={
            "c.yml": "services:\n  a: {image: x, ports: ['80:1/udp', '127.0.0.2:81:1', '82:1']}\n"
            "  b: {image: x, ports: ['80:1/tcp', '127.0.0.3:81:1', '83:1', '1']}"
        },
    ),
    Row(
        "k8s_yaml(['a.yml', 'b.yml'])\nk8s_resource('a', port_forwards=80)\nk8s_resource('b', port_forwards='80:90')",
        (("port-clash", 1, "b and a both want port 80"),),
        {"a.yml": POD.format("a"), "b.yml": POD.format("b")},
    ),
    Row(
        "k8s_yaml(['a.yml', 'b.yml'])\nk8s_resource('a', port_forwards=80)\nk8s_resource('b', port_forwards='80:90')\n"
        "config.set_enabled_resources(['a'])",
        files={"a.yml": POD.format("a"), "b.yml": POD.format("b")},
    ),
    # resources
    Row(
        "local_resource('a', 'x', resource_deps=['nope'])",
        (("unknown-dependency", 1, "nope"),),
    ),
    Row(
        "local_resource('a', serve_cmd='x')\nlocal_resource('b', 'x', resource_deps=['a'])",
        (("unready-server", 1, "b may start before a answers"),),
    ),
    Row(
        "local_resource('a', serve_cmd='x', readiness_probe=probe(tcp_socket=tcp_socket_action(80)))\n"
        "local_resource('b', 'x', resource_deps=['a'])",
    ),
    Row("local_resource('a', serve_cmd='x')"),
    Row(
        "local_resource('a', 'x', auto_init=False)\nlocal_resource('b', 'x', resource_deps=['a'])",
        (("waits-for-manual", 2, "b does not start until somebody triggers a"),),
    ),
    Row(
        "local_resource('a', 'x', auto_init=False)\nlocal_resource('b', 'x', resource_deps=['a'], auto_init=False)",
    ),
    # what evaluation warns of
    Row("\nwarn('careful')", (("warning", 2, "careful"),)),
    Row("test('a', 'x')", (("warning", 1, "test() is deprecated"),)),
    # what Tilt refuses
    Row(
        "docker_build('img', '.')\nlive_update('img', [sync('src', '/s')])\ndocker_compose('c.yml')",
        (("not-in-tilt", 2, "live_update(...) by itself"),),
        SRC,
    ),
    Row(live("fall_back_on(files='other.txt')", "sync('src', '/s')"), (("not-in-tilt", 1, "files=..."),), SRC),
)


def found_in(text: str, files: Mapping[str, str]) -> tuple[Finding, ...]:
    world = {f"{ROOT}/{name}" for name in [*files, "Dockerfile"]}

    def exists(path: str) -> bool:
        return path == ROOT or any(name == path or name.startswith(f"{path}/") for name in world)

    return findings([cell(f"{ROOT}/Tiltfile", text)], evaluate(text, files).spec, exists)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_findings(row: Row) -> None:
    found = found_in(row.text, row.files)
    assert [finding.rule for finding in found] == [rule for rule, _line, _words in row.found]
    for finding, (_rule, line, words) in zip(found, row.found, strict=True):
        assert finding.origin.line == line
        assert words in rendered(finding)


def test_waiting_for_what_is_switched_off() -> None:
    spec = evaluate("local_resource('a', 'x')\nlocal_resource('b', 'x', resource_deps=['a'])").spec
    assert lint(spec, lambda _path: True) == ()
    (finding,) = lint(replace(spec, enabled=frozenset(["b"])), lambda _path: True)
    assert (finding.rule, finding.origin.line) == ("waits-for-disabled", 2)
    assert lint(replace(spec, enabled=frozenset()), lambda _path: True) == ()


def test_every_rule_has_a_row_and_every_finding_says_why_and_what_to_try() -> None:
    named = {rule for row in ROWS for rule, _line, _words in row.found}
    assert len(named) >= len(RULES)
    for row in ROWS:
        for finding in found_in(row.text, row.files):
            assert finding.rule == "warning" or (finding.why and finding.advice)


@pytest.mark.parametrize("case", [case for case in [*CASES, *KUBERNETES_CASES] if not case.error], ids=str)
def test_the_language_s_own_cases_get_only_what_tilt_warns_of(case: Case) -> None:
    spec = evaluate(case.text, case.files, case.args).spec
    found = findings([cell("cell", case.text)], spec, lambda _path: True)
    rules = {finding.rule for finding in found}
    assert rules <= (
        {"unused-image", "unknown-dependency", "warning", "not-in-tilt"} if spec.warnings else {"not-in-tilt"}
    )
    assert ("not-in-tilt" in rules) == ("live_update('" in case.text or "files=" in case.text)


@pytest.mark.parametrize(
    "text",
    [
        "docker_build('a', '.', live_update=[])",
        "# live_update('a', [])",
        "x = 'live_update('",
        "def live_update(a):\n  pass\nlive_update(1)",
        "struct(live_update=1).live_update()",
        "fall_back_on(['files'])",
    ],
)
def test_nothing_is_refused(text: str) -> None:
    assert list(refused(text, "Tiltfile")) == []


def test_a_finding_is_shown_with_its_place_and_advice() -> None:
    (finding,) = found_in("local_resource('a', 'x', deps=['nope'])", {})
    assert rendered(finding, ROOT) == (
        "Tiltfile:1: deps of a: there is no /root/nope  [missing-path]\n"
        "    why: nothing changes until it appears\n"
        "    try: mend the path"
    )
