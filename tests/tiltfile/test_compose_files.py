"""Compose projects: what our own reader makes of them, and that the Compose CLI makes the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ipytilt.core.spec import ComposeProject
from ipytilt.tiltfile.compose_files import (
    BuildSection,
    bind_sources,
    build_section,
    effective,
    in_dependency_order,
    project_name,
    published_ports,
)
from ipytilt.tiltfile.compose_reader import interpolated, read_config
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.host import DiskHost
from tests.tiltfile.evaluated import ROOT, evaluate, host

SAMPLES: dict[str, dict[str, str]] = {
    "short-forms": {
        "a.yml": """
services:
  web:
    build: ./web
    ports: ["8080:80", "127.0.0.1:9000-9001:9000-9001/udp", 3000, "6000-6001:7000"]
    depends_on: [db]
    volumes: ["./web:/app:ro", "data:/data", "/abs:/x", "/anon"]
    command: sh -c "echo $$HOME"
    labels: ["a=b", c]
    networks: [front]
  db: {image: "postgres:15"}
volumes: {data: {}}
networks: {front: {}}
"""
    },
    "long-forms": {
        "a.yml": """
services:
  api:
    build: {context: api, args: {X: 1, Y: }, target: dev, dockerfile: d/File}
    depends_on: {db: {condition: service_healthy}}
    healthcheck: {test: [CMD, "true"], interval: 5s}
    volumes: [{type: bind, source: ./src, target: /src}, {type: volume, source: v, target: /v}]
  db:
    image: postgres
    ports: [{target: 5432, published: 5433}]
volumes: {v: }
"""
    },
    "variables": {
        ".env": "export NAME=fred\nEMPTY=\nQUOTED=\"a b $NAME\" # comment\nLITERAL='$NAME'\n",
        "a.env": "FROM_FILE=1\nK=lost\nREF=${NAME}\n",
        "a.yml": """
services:
  a:
    image: img:${TAG:-15}
    env_file: a.env
    environment: ["K=v", "SAMPLE_FROM_ENVIRONMENT", "NOT_THERE", "N=${NAME}", "D=${UNSET:-${NAME}-x}"]
  b:
    image: "${NAME}${EMPTY}${EMPTY:-e}${EMPTY-n}${NAME:+p}"
    env_file: [{path: none.env, required: false}]
    environment: {YES: "yes", ONE: 1, T: true, Q: $QUOTED, L: $LITERAL}
""",
    },
    "merged": {
        "a.yml": """
x-common: &common {restart: always, environment: {A: "1", B: b}}
services:
  web: {<<: *common, image: one, ports: ["80:80"], volumes: ["./a:/app", "data:/x"], command: [a], labels: {l: "1"}}
volumes: {data: }
""",
        "b.yml": """
services:
  web:
    image: two
    ports: ["80:80", "81:81"]
    volumes: ["./b:/app"]
    command: b c
    environment: [C=3, A=9]
    labels: [m=2]
  new: {image: three}
""",
    },
    "extends-and-profiles": {
        "a.yml": """
services:
  base: {image: base, environment: {A: 1}, profiles: [never]}
  kid: {extends: base, environment: {B: 2}, profiles: [debug]}
  far: {extends: {service: other, file: sub/o.yml}}
  quiet: {image: x, profiles: [other]}
""",
        "sub/o.yml": "services: {other: {build: ., volumes: ['./v:/v']}}\n",
    },
    "what-needs-what": {
        "a.yml": """
services:
  web: {image: x, links: ["db:database"], network_mode: "service:proxy", volumes_from: [store, "container:other"]}
  tool: {image: x, pid: "service:web", depends_on: {web: {condition: service_healthy}}, volumes: ["~/.aws:/aws:ro"]}
  db: {image: db}
  proxy: {image: proxy}
  store: {image: store}
""",
    },
    "replaced-and-removed": {
        "a.yml": """
x-deep: {er: {base: &base {A: 1, B: 2}, own: &own {<<: *base, A: 3}}}
services:
  web: {image: x, ports: ["80:80"], environment: {<<: *own, A: 4}, command: a}
  same: {image: x, environment: *own}
""",
        "b.yml": """
services:
  web:
    ports: !override ["81:81"]
    environment: !reset {}
    command: !reset null
""",
    },
    "files-elsewhere": {
        "a.yml": "services: {a: {build: x, env_file: a.env}}\n",
        "b/b.yml": "services: {a: {volumes: ['./y:/y']}}\n",
        "a.env": "A=1\n",
    },
}


def project(directory: str, names: list[str]) -> ComposeProject:
    paths = tuple(f"{directory}/{name}" for name in names if name.endswith(".yml") and name != "sub/o.yml")
    return ComposeProject("proj", paths, directory, profiles=("debug",))


@pytest.mark.compose
@pytest.mark.parametrize("sample", SAMPLES)
def test_reader_and_cli_agree(sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_FROM_ENVIRONMENT", "here")
    for name, text in SAMPLES[sample].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    wanted = project(os.path.realpath(tmp_path), sorted(SAMPLES[sample]))
    with_cli, alone = DiskHost(), DiskHost()
    assert with_cli.compose_cli() is not None
    assert effective(wanted, with_cli, cancelled=lambda: False) == read_config(wanted, alone)
    assert set(with_cli.reads) <= set(alone.reads)  # the CLI does not say which files it extends or includes


def services(text: str, **more: str) -> dict[str, Any]:
    world = host({"a.yml": text, **more}, environ={"SHELL_WINS": "yes", "TAG": "t"})
    found: dict[str, Any] = read_config(project(ROOT, ["a.yml"]), world)["services"]
    return found


def test_what_the_reader_yields() -> None:
    found = services(SAMPLES["short-forms"]["a.yml"])["web"]
    assert found["ports"][:2] == [
        {"mode": "ingress", "target": 80, "published": "8080", "protocol": "tcp"},
        {"mode": "ingress", "target": 9000, "published": "9000", "protocol": "udp", "host_ip": "127.0.0.1"},
    ]
    assert published_ports(found) == (8080, 9000, 9001)
    assert bind_sources(found) == (f"{ROOT}/web", "/abs")
    assert build_section(found) == BuildSection(f"{ROOT}/web", f"{ROOT}/web/Dockerfile")
    assert found["command"] == ["sh", "-c", "echo $HOME"]


@pytest.mark.parametrize(
    "build, section",
    [
        ("https://example.com/x.git", None),
        ("{context: d, dockerfile: ../other}", BuildSection(f"{ROOT}/d", f"{ROOT}/other")),
        ("{context: d, dockerfile_inline: FROM x}", BuildSection(f"{ROOT}/d", "")),
        ("{dockerfile: D}", BuildSection(ROOT, f"{ROOT}/D")),
    ],
)
def test_build_sections(build: str, section: BuildSection | None) -> None:
    assert build_section(services(f"services: {{a: {{build: {build}}}}}")["a"]) == section


@pytest.mark.parametrize(
    "text, value",
    [
        ("$A-$$B", "1-$B"),
        ("${A}x", "1x"),
        ("${E:-d}${E-n}", "d"),
        ("${U-n}${U:+p}", "n"),
        ("${A:+p}${E+q}", "pq"),
        ("${U:-${E:-${A}}}", "1"),
        ("plain", "plain"),
    ],
)
def test_interpolation(text: str, value: str) -> None:
    assert interpolated(text, {"A": "1", "E": ""}) == value


@pytest.mark.parametrize("text", ["${", "${A", "${A b}", "${U:?why}", "${1}"])
def test_broken_interpolation(text: str) -> None:
    with pytest.raises(Wrong, match=r"invalid interpolation format|missing a value: why"):
        interpolated(text, {})


@pytest.mark.parametrize(
    "text, problem",
    [
        ("services: {a: {image: x, extends: a}}", "a -> a extends itself"),
        ("services: {a: {image: x, extends: b}}", 'extends "b", which is not defined'),
        ("services: {a: {image: x, extends: {service: b, file: none.yml}}}", "open /root/none.yml"),
        ("services: {a: {image: x, env_file: none.env}}", "none.env not found"),
        ("services: {a: }", "validating /root/a.yml: services.a must be a mapping"),
        ("[1]", "services must be a mapping"),
        ("a: [", "parsing /root/a.yml: yaml: line"),
    ],
)
def test_what_the_reader_refuses(text: str, problem: str) -> None:
    with pytest.raises(Wrong) as caught:
        services(text)
    assert problem in caught.value.message


REFUSED = [
    ("", "empty compose file"),
    ("foo: 1", "(root) additional properties 'foo' not allowed"),
    ("version: 3\nservices: {a: {image: x}}", "version must be a string"),
    ("services: {a b: {image: x}}", "services additional properties 'a b' not allowed"),
    ("services: {a: {image: x, imgae: y, x-own: z}}", "services.a additional properties 'imgae' not allowed"),
    ("services: {a: {build: {contxt: .}}}", "services.a.build additional properties 'contxt' not allowed"),
    ("services: {a: {image: x, healthcheck: {tst: y}}}", "services.a.healthcheck additional properties 'tst'"),
    ("services: {a: {image: 5}}", "services.a.image must be a string"),
    ("services: {a: {image: x, command: {b: c}}}", "services.a.command must be a string or a list"),
    ("services: {a: {image: x, ports: '80:80'}}", "services.a.ports must be a list"),
    ("services: {a: {image: x}, a: {image: y}}", 'mapping key "a" already defined'),
    (
        "services: {a: {image: x, depends_on: {b: {condition: ready}}}, b: {image: x}}",
        "services.a.depends_on.b.condition must be one of service_started",
    ),
    ("services: {a: {image: x, networks: [n]}}", 'service "a" refers to undefined network n'),
    ("services: {a: {image: x, volumes: ['vol:/x']}}", 'service "a" refers to undefined volume vol'),
    ("services: {a: {image: x, secrets: [s]}}", 'service "a" refers to undefined secret s'),
    ("services: {a: {image: x, configs: [{source: c}]}}", 'service "a" refers to undefined config c'),
    ("services: {a: {image: x, links: ['b:alias']}}", 'service "a" depends on undefined service "b"'),
    ("services: {a: {image: x, networks: [default], network_mode: host}}", "mutually exclusive"),
]


@pytest.mark.parametrize("text, problem", REFUSED)
def test_what_no_compose_file_may_say(text: str, problem: str) -> None:
    with pytest.raises(Wrong) as caught:
        services(text)
    assert problem in caught.value.message


@pytest.mark.compose
@pytest.mark.parametrize("text", [text for text, _ in REFUSED])
def test_the_cli_refuses_the_same(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(Wrong, match="exit status"):
        effective(project(str(tmp_path), ["a.yml"]), DiskHost(), cancelled=lambda: False)


def test_the_environment_wins_over_env_files() -> None:
    found = services(
        "services: {a: {image: 'i:$TAG', environment: [SHELL_WINS]}}", **{".env": "TAG=file\nSHELL_WINS=no"}
    )
    assert found["a"] == {
        "command": None,
        "entrypoint": None,
        "environment": {"SHELL_WINS": "yes"},
        "image": "i:t",
        "networks": {"default": None},
    }


def test_paths_of_inline_yaml_start_from_the_tiltfile() -> None:
    loaded = evaluate("docker_compose(blob('services: {a: {build: app}}'), project_name='p')", {"app/Dockerfile": ""})
    assert loaded.spec.images["p_a"].watched == (f"{ROOT}/app",)
    assert loaded.reads == (f"{ROOT}/.tiltignore", f"{ROOT}/Tiltfile", f"{ROOT}/app/.dockerignore")


def test_included_files() -> None:
    found = services("include: [sub/b.yml]\nservices: {a: {image: x}}", **{"sub/b.yml": "services: {b: {build: .}}"})
    assert sorted(found) == ["a", "b"]
    assert found["b"]["build"]["context"] == f"{ROOT}/sub"


def test_order_of_services() -> None:
    assert in_dependency_order({"a": {"depends_on": {"c": {}}}, "b": {}, "c": {"depends_on": {"b": {}}}}) == [
        "b",
        "c",
        "a",
    ]
    with pytest.raises(Wrong, match="a -> b -> a"):
        in_dependency_order({"a": {"depends_on": {"b": {}}}, "b": {"depends_on": {"a": {}}}})


@pytest.mark.parametrize("text, name", [("My App.v2", "myappv2"), ("_a-b_", "a-b_"), ("...", "")])
def test_project_names(text: str, name: str) -> None:
    assert project_name(text) == name


def test_a_second_call_adds_to_the_project() -> None:
    loaded = evaluate(
        "docker_compose('a.yml')\ndc_resource('a', labels='l', new_name='z')\ndocker_compose('b.yml')\n",
        {
            "a.yml": "services: {a: {image: x}}",
            "b.yml": "services: {a: {image: y}, b: {image: z, depends_on: [a]}}",
        },
    )
    a, b = loaded.spec.resources
    assert [a.name, a.labels, b.name, b.resource_deps] == ["z", ("l",), "b", ("z",)]
    assert [a.target.image, a.target.project.config_paths] == ["y", (f"{ROOT}/a.yml", f"{ROOT}/b.yml")]  # type: ignore[union-attr]


def test_services_built_by_compose() -> None:
    loaded = evaluate(
        "docker_compose('a.yml')",
        {
            "a.yml": "services: {a: {build: app, volumes: ['./app:/x']}, b: {image: root_a}, c: {image: c}}",
            "app/.git/HEAD": "",
            "app/Dockerfile": "FROM x",
            "app/.dockerignore": "# no\n*.log\n!/keep.log\n",
        },
    )
    image = loaded.spec.images["root_a"]
    own = [(f"{ROOT}/app/.git", ()), (f"{ROOT}/app", ("*.log", "!keep.log"))]
    assert [(i.base, i.patterns) for i in image.context_ignores] == own
    assert [(i.base, i.patterns) for i in image.watch_ignores] == [
        *own,
        (f"{ROOT}/app/Dockerfile", ()),
        (f"{ROOT}/app", ()),
    ]
    assert image.watched == (f"{ROOT}/app",)
    assert [r.images for r in loaded.spec.resources] == [("root_a",), ("root_a",), ()]
    assert f"{ROOT}/app/.dockerignore" in loaded.reads
