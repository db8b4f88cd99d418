"""What assembly makes of a draft: images, ignore sets, defaults, enabled resources, warnings."""

from __future__ import annotations

import pytest

from ipytilt.core.spec import CustomBuild, DockerBuild, Image, Local, Spec
from tests.tiltfile.evaluated import ROOT, evaluate

SERVICES = {"c.yml": "services: {a: {image: img}, b: {image: 'img:v2'}, c: {image: other}}"}
WORLD = {
    **SERVICES,
    ".git/HEAD": "",
    ".dockerignore": "*.md\n",
    "app/Dockerfile": "FROM base\nCOPY --from=tools x y\n",
    "app/Dockerfile.dockerignore": "node_modules\n!keep\n",
    "src/.git/HEAD": "",
    "src/a.py": "",
    "file.txt": "",
}


def spec(text: str, files: dict[str, str] | None = None) -> Spec:
    return evaluate(f"docker_compose('c.yml')\n{text}", {**WORLD, **(files or {})}).spec


def image(text: str, ref: str = "img") -> Image:
    return spec(text).images[ref]


def sets(ignores: object) -> list[tuple[str, tuple[str, ...]]]:
    return [(ignore.base, ignore.patterns) for ignore in ignores]  # type: ignore[attr-defined]


def builds(text: str) -> dict[str, tuple[str, ...]]:
    return {resource.name: resource.images for resource in spec(text).resources}


@pytest.mark.parametrize(
    "text, found",
    [
        ("docker_build('img', '.')", {"a": ("img",), "b": ("img",), "c": ()}),
        ("docker_build('img:v2', '.')", {"a": (), "b": ("img:v2",), "c": ()}),
        ("docker_build('img:v2', '.')\ndocker_build('img', '.')", {"a": ("img",), "b": ("img:v2",), "c": ()}),
        ("docker_build('img:v1', '.')\ndocker_build('img:v2', '.')", {"a": (), "b": ("img:v2",), "c": ()}),
        (
            (
                "docker_build('img', 'app')\ndocker_build('tools', '.')\ndocker_build('base', '.')\n"
                "dc_resource('c', image='base')"
            ),
            {"a": ("base", "tools", "img"), "b": ("base", "tools", "img"), "c": ("base",)},
        ),
        (
            "custom_build('img', 'make', ['src'], image_deps=['base', 'base'])\ndocker_build('base', '.')",
            {"a": ("base", "img"), "b": ("base", "img"), "c": ()},
        ),
    ],
)
def test_which_images_a_resource_builds(text: str, found: dict[str, tuple[str, ...]]) -> None:
    assert builds(text) == found


def test_what_an_image_is_built_on() -> None:
    text = "docker_build('img', 'app')\ndocker_build('tools', '.')\ndocker_build('docker.io/library/base:1', '.')"
    found = spec(text).images
    assert found["img"].depends_on == ("tools",)
    assert found["img"].exact is False
    custom = image("custom_build('img', 'make', ['src'], image_deps=['x:1'])\ndocker_build('x:1', '.')")
    assert custom.depends_on == ("x:1",)
    assert isinstance(custom.build, CustomBuild)
    assert custom.build.image_deps == ("x:1",)


def test_ignores_of_a_docker_build() -> None:
    found = image("docker_build('img', '.', dockerfile='app/Dockerfile', ignore=['a', '!b'], only=['src', './app'])")
    own = [
        (f"{ROOT}/Tiltfile", ()),
        (f"{ROOT}/.git", ()),
        (ROOT, ("a", "!b")),
        (ROOT, ("**", "!src", "!./app")),
        (ROOT, ("node_modules", "!keep")),
    ]
    assert sets(found.context_ignores) == own
    assert sets(found.watch_ignores) == [*own, (f"{ROOT}/app/Dockerfile", ())]
    assert found.watched == (ROOT,)


def test_ignores_of_a_custom_build_belong_to_its_folders() -> None:
    text = "custom_build('img', 'make', ['src', 'file.txt', '.'], ignore='*.o', outputs_image_ref_to='out.txt')"
    whole = spec(text)
    found = whole.images["img"]
    assert found.context_ignores == ()
    assert sets(found.watch_ignores) == [
        (f"{ROOT}/Tiltfile", ()),
        (f"{ROOT}/src/.git", ()),
        (f"{ROOT}/.git", ()),
        (f"{ROOT}/src", ("*.o",)),
        (ROOT, ("*.o",)),
        (ROOT, ("*.md",)),
    ]
    assert sets(whole.watch_ignores) == [(f"{ROOT}/out.txt", ())]
    assert {f"{ROOT}/src/.dockerignore", f"{ROOT}/.dockerignore"} <= set(whole.config_files)


def test_the_tiltfile_that_made_the_call_is_ignored() -> None:
    files = {"sub/Tiltfile": "docker_build('img', '..', dockerfile='../Dockerfile')"}
    found = evaluate("docker_compose('c.yml')\ninclude('sub/Tiltfile')", WORLD | files).spec.images["img"]
    assert found.context_ignores[0].base == f"{ROOT}/sub/Tiltfile"


def test_details_of_a_docker_build() -> None:
    loaded = evaluate(
        "docker_compose('c.yml')\n"
        "docker_build('img', '.', build_args={'B': 'x', 'A': ''}, ssh='s', secret=['t'], "
        "network='n', extra_tag='e:f',\n"
        "  cache_from='c', pull=True, extra_hosts=['h'], target='u')",
        WORLD,
        environ={"DOCKER_DEFAULT_PLATFORM": "linux/arm64"},
    )
    assert loaded.spec.images["img"].build == DockerBuild(
        context=ROOT,
        dockerfile="FROM scratch\n",
        dockerfile_path=f"{ROOT}/Dockerfile",
        args=("A", "B=x"),
        target="u",
        ssh=("s",),
        secrets=("t",),
        network="n",
        extra_tags=("e:f",),
        cache_from=("c",),
        platform="linux/arm64",
        pull=True,
        extra_hosts=("h",),
    )


def test_live_update_paths_are_absolute_and_triggers_as_written_kept() -> None:
    rules = image(
        "docker_build('img', '.', live_update=[fall_back_on(['x', 'y']), sync('src', '/s/'), "
        "run(['a', 'b'], trigger='src/t')])"
    ).live_update
    assert rules is not None
    assert (rules.base, [stop.path for stop in rules.stop_paths]) == (ROOT, [f"{ROOT}/x", f"{ROOT}/y"])
    assert [(sync.local, sync.container, sync.directory) for sync in rules.syncs] == [(f"{ROOT}/src", "/s/", True)]
    assert [(run.argv, run.triggers, run.triggers_as_written) for run in rules.runs] == [
        (("a", "b"), (f"{ROOT}/src/t",), ("src/t",))
    ]


def test_the_base_is_that_of_the_consuming_call() -> None:
    files = {"sub/Tiltfile": "steps = [sync('x', '/x'), run('y', trigger='t')]"}
    text = "load('sub/Tiltfile', 'steps')\ndocker_build('img', '.', live_update=steps)"
    rules = spec(text, files).images["img"].live_update
    assert rules is not None
    assert (rules.base, rules.syncs[0].local, rules.runs[0].triggers) == (ROOT, f"{ROOT}/sub/x", (f"{ROOT}/t",))


def test_standalone_live_update_attaches_by_name() -> None:
    rules = image(
        "live_update('docker.io/library/img', [sync('src', '/s')], 'src/f')\ndocker_build('img', '.')"
    ).live_update
    assert rules is not None
    assert [stop.path for stop in rules.stop_paths] == [f"{ROOT}/src/f"]


@pytest.mark.parametrize(
    "text, warnings",
    [
        ("docker_build('img', '.')", ()),
        ("docker_build('omg', '.')", ("Image not used in any Docker Compose config: omg", "Did you mean… img")),
        ("docker_build('zz', '.')\nupdate_settings(suppress_unused_image_warnings='zz')", ()),
        ("docker_build('zz', '.')\nupdate_settings(suppress_unused_image_warnings=['*'])", ()),
        ("docker_build('used', 'app')\ndocker_build('base', '.')", ("not used in any Docker Compose config: used",)),
        ("local_resource('l', 'x', resource_deps=['d'])", ("unknown resource d - dependency ignored",)),
    ],
)
def test_warnings(text: str, warnings: tuple[str, ...]) -> None:
    loaded = evaluate(f"docker_compose('c.yml')\n{text}", WORLD)
    assert bool(loaded.spec.warnings) == bool(warnings)
    for warning in warnings:
        assert any(warning in line for line in loaded.spec.warnings)
        assert any(warning in line for line in loaded.log)


@pytest.mark.parametrize(
    "text, args, enabled",
    [
        ("", (), {"a", "b", "c"}),
        ("", ("c",), {"c"}),
        ("", ("b",), {"b", "c"}),
        ("config.set_enabled_resources(['a', 'b'])", ("c",), {"a", "b", "c"}),
        ("config.clear_enabled_resources()\nconfig.set_enabled_resources(['c'])", (), {"c"}),
        ("config.set_enabled_resources(['c'])\nconfig.clear_enabled_resources()", (), set()),
        ("config.define_string_list('x', args=True)\nconfig.parse()", ("c",), {"a", "b", "c"}),
    ],
)
def test_enabled_resources(text: str, args: tuple[str, ...], enabled: set[str]) -> None:
    three = "local_resource('a','x')\nlocal_resource('b','x',resource_deps=['c'])\nlocal_resource('c','x')\n"
    loaded = evaluate(three + text, {}, args)
    assert loaded.spec.enabled == enabled
    assert [resource.name for resource in loaded.spec.resources] == ["a", "b", "c"]


def test_a_local_resource_in_full() -> None:
    loaded = evaluate(
        "local_resource('a', 'make', deps=['src', 'x'], ignore='*.o', env={'B': '1', 'A': '2'}, "
        "dir='src', labels=['l', 'k'],\n"
        "  serve_cmd=['serve'], links=['x.com', link('y.com', 'Y')], "
        "readiness_probe=probe(tcp_socket=tcp_socket_action(80)))",
        WORLD,
    )
    resource = loaded.spec.resources[0]
    target = resource.target
    assert isinstance(target, Local)
    assert target.cmd is not None
    assert (target.cmd.argv, target.cmd.dir, target.cmd.env) == (("sh", "-c", "make"), f"{ROOT}/src", ("A=2", "B=1"))
    assert target.serve is not None
    assert (target.serve.argv, target.serve.dir, target.serve.env) == (("serve",), ROOT, ())
    assert (target.deps, target.allow_parallel) == ((f"{ROOT}/src", f"{ROOT}/x"), False)
    assert sets(target.ignores) == [(f"{ROOT}/src/.git", ()), (f"{ROOT}/.git", ()), (ROOT, ("*.o",))]
    assert resource.labels == ("k", "l")
    assert [(link.url, link.name) for link in resource.links] == [("http://x.com", ""), ("http://y.com", "Y")]


def test_a_server_alone_is_parallel_and_a_probe_without_server_is_dropped() -> None:
    loaded = evaluate(
        "local_resource('s', serve_cmd='x')\n"
        "local_resource('c', 'x', readiness_probe=probe(exec=exec_action(['a'])))\ntest('t', 'x')"
    )
    server, command, test = (resource.target for resource in loaded.spec.resources)
    assert isinstance(server, Local)
    assert isinstance(command, Local)
    assert isinstance(test, Local)
    assert (server.allow_parallel, command.allow_parallel, test.allow_parallel) == (True, False, True)
    assert command.probe is None
    assert len(loaded.spec.warnings) == 2


def test_settings() -> None:
    loaded = evaluate(
        "update_settings(max_parallel_updates=5)\nupdate_settings(suppress_unused_image_warnings='a')\n"
        "ci_settings(timeout='1h')\nci_settings(k8s_grace_period='10s')\n"
        "docker_prune_settings(num_builds=3, keep_recent=0)\ndefault_registry('r.io', single_name='s')\n"
        "disable_snapshots()\nsecret_settings(disable_scrub=True)"
    )
    settings = loaded.spec.settings
    assert (settings.update.max_parallel_updates, settings.update.suppress_unused_image_warnings) == (5, ("a",))
    assert (settings.ci.timeout, settings.ci.k8s_grace_period, settings.ci.readiness_timeout) == (3600.0, 10.0, 300.0)
    assert (settings.prune.num_builds, settings.prune.keep_recent, settings.prune.max_age_mins) == (3, 0, 360)
    assert settings.features == (("snapshots", False),)
    assert settings.scrub_secrets is False
    assert loaded.spec.registry is not None
    assert (loaded.spec.registry.host, loaded.spec.registry.single_name) == ("r.io", "s")
