"""The language's cases by number, as data: what a Tiltfile says, and what it yields or how it fails.

Cases that deploy to Kubernetes are in `cases_k8s`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.tiltfile.evaluated import ROOT


@dataclass(frozen=True)
class Case:
    """A Tiltfile in ROOT, beside a Dockerfile and `files`; what is left out is not checked.

    `resources` maps a name to its kind (for Kubernetes followed by the kinds of its objects); `builds` lists image
    builds in order, " exact" marking exact matches; modes: auto, manual+autoinit, manual, auto+manualinit.
    """

    number: int
    text: str
    files: Mapping[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    error: str = ""
    warning: str = ""
    no_warning: bool = False
    resources: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modes: Mapping[str, str] = field(default_factory=dict)
    deps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    readiness: Mapping[str, str] = field(default_factory=dict)
    forwards: tuple[str, ...] = ()
    ignores: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    dirs: Mapping[str, str] = field(default_factory=dict)
    syncs: tuple[tuple[str, str], ...] = ()
    execs: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    enabled: tuple[str, ...] | None = None
    config_file: str = ""
    prints: str = ""

    def __str__(self) -> str:
        return str(self.number)


COMPOSE = {"docker-compose.yml": "services:\n  web: {image: img, depends_on: [db]}\n  db: {image: postgres}"}
THREE = "local_resource('a','x')\nlocal_resource('b','x',resource_deps=['c'])\nlocal_resource('c','x')"

CASES = (
    Case(
        8,
        "docker_build('img','.')\ndocker_build('docker.io/library/img','.')",
        error='Image for ref "img" has already been defined',
    ),
    Case(9, "docker_build('img','.')", warning="could not find any deployment instructions"),
    Case(15, "docker_build('IMG','.')", error='can\'t parse "IMG"'),
    Case(16, "docker_build('img','nodir')", error="error reading dockerfile"),
    Case(
        17,
        "docker_build('img','.', dockerfile='Dockerfile', dockerfile_contents='FROM x')",
        error="Cannot specify both dockerfile and dockerfile_contents",
    ),
    Case(18, "docker_build('img','.', only=['src/*'])", error="'only' does not support '*' file globs"),
    Case(
        21,
        "custom_build('img','make',[], tag='t', outputs_image_ref_to='f')",
        error="Cannot specify both tag= and outputs_image_ref_to=",
    ),
    Case(22, "custom_build('img','',[])", error="Argument 2 (command) can't be empty"),
    Case(
        53,
        "local_resource('a','x',resource_deps=['b'])\nlocal_resource('b','x',resource_deps=['a'])",
        error="cycle detected in resource dependency graph",
    ),
    Case(54, "local_resource('a','x',resource_deps=['a'])", error="specified a dependency on itself"),
    Case(
        58,
        "trigger_mode(TRIGGER_MODE_MANUAL)\n"
        "local_resource('a','x')\n"
        "local_resource('b','x',trigger_mode=TRIGGER_MODE_AUTO)",
        modes={"a": "manual+autoinit", "b": "auto"},
    ),
    Case(59, "local_resource('a','x',auto_init=False)", modes={"a": "auto+manualinit"}),
    Case(69, "sync('src','/app')", error="live_update steps that were created but not used"),
    Case(74, "local_resource('a')", error="must have a cmd and/or a serve_cmd"),
    Case(75, "local_resource('a', None)", error="a command must be a string or list of strings"),
    Case(76, "local_resource('a', serve_cmd='s', dir='d')", error="Did you mean to use 'serve_dir'"),
    Case(77, "local_resource('a/b','x')", error="may not contain '/'"),
    Case(78, "local_resource('a','x', deps='d', ignore='*.o')", ignores={"a": (ROOT, "*.o")}),
    Case(79, "probe()", error="exactly one of exec, http_get, or tcp_socket must be specified"),
    Case(
        83,
        "docker_compose('docker-compose.yml')\ndocker_build('img','.')",
        files=COMPOSE,
        resources={"db": "compose", "web": "compose"},
        builds={"web": ("img",)},
        deps={"web": ("db",)},
    ),
    Case(
        84,
        "docker_compose('docker-compose.yml')\ndc_resource('db', new_name='pg')",
        files=COMPOSE,
        resources={"pg": "compose", "web": "compose"},
        deps={"web": ("pg",)},
    ),
    Case(
        85,
        "docker_compose('docker-compose.yml')\ndc_resource('nope')",
        files=COMPOSE,
        error='no Docker Compose service found with name "nope"',
    ),
    Case(
        86,
        "docker_compose('docker-compose.yml')\ndocker_build('img','.', entrypoint='x')",
        files=COMPOSE,
        error="entrypoint not supported for Docker Compose",
    ),
    Case(
        87,
        "docker_compose('docker-compose.yml')\ndefault_registry('r.io/x')",
        files=COMPOSE,
        error="default_registry is not supported with docker compose",
    ),
    Case(
        88,
        "docker_compose('docker-compose.yml')\n"
        "docker_build('img','.', live_update=[sync('src','/s'), restart_container()])",
        files=COMPOSE,
        builds={"web": ("img",)},
    ),
    Case(89, "docker_compose([])", error="Nothing to compose"),
    Case(90, THREE, args=("b",), enabled=("b", "c")),
    Case(91, THREE, args=("zz",), error="You specified some resources that could not be found"),
    Case(92, "config.set_enabled_resources(['a'])\n" + THREE, args=("b",), enabled=("a",)),
    Case(93, "config.set_enabled_resources([])\n" + THREE, args=("a",), enabled=("a",)),
    Case(94, "config.clear_enabled_resources()\n" + THREE, args=("a",), enabled=()),
    Case(
        95,
        "config.define_string_list('s', args=True)\nconfig.define_bool('v')\nprint(config.parse())",
        args=("x", "--v", "y"),
        prints='{"s": ["x", "y"], "v": True}',
    ),
    Case(96, "config.define_string('s')\nconfig.parse()", args=("--t=1",), error="unknown flag: --t"),
    Case(
        97,
        "config.define_string('s')\nprint(config.parse())",
        files={"tilt_config.json": '{"s":"f"}'},
        args=("--s", "cli"),
        config_file="tilt_config.json",
        prints='{"s": "cli"}',
    ),
    Case(98, "config.parse()", files={"tilt_config.json": '{"q":1}'}, error="specified unknown setting name 'q'"),
    Case(
        99,
        "load('lib/Tiltfile','f')\nprint(f())",
        files={"lib/Tiltfile": "def f(): return os.path.basename(os.getcwd()) == 'lib'"},
        config_file="lib/Tiltfile",
        prints="False",
    ),
    Case(
        100, "include('lib/Tiltfile')", files={"lib/Tiltfile": "local_resource('a','pwd')"}, dirs={"a": f"{ROOT}/lib"}
    ),
    Case(101, "include('x')", files={"x": "include('Tiltfile')"}, error="Circular load"),
    Case(102, "load('x','_p')", files={"x": "_p=1"}, error="names with leading underscores are not exported"),
    Case(103, "load('x','v')\nv.append(1)", files={"x": "v=[]"}, error="cannot append to frozen list"),
    Case(104, "if True:\n  load('x','v')", files={"x": "v=[]"}, error="load statement within a conditional"),
    Case(105, "print(load_dynamic('x'))", files={"x": "_a=1\nb=2"}, prints='{"_a": 1, "b": 2}'),
    Case(
        106, "local_resource('a','x')\nexit('done')\nlocal_resource('b','x')", resources={"a": "local"}, prints='"done"'
    ),
    Case(107, "fail('no %s' % 'way')", error="no way"),
    Case(108, "fail('a','b')", error="fail: got 2 arguments, want at most 1"),
    Case(109, "print(read_file('n', default='d'), listdir('n'))", config_file="n", prints="d []"),
    Case(110, "print(blob('a') + 'b')", error="unknown binary op: blob + string"),
    Case(111, "print(str(blob('a')) + 'b', type(blob('a')), '%s' % blob('c'))", prints="ab blob c"),
    Case(112, "print(decode_yaml('a: 1.0\\nb: yes\\nc: 2020-01-01'))", prints='{"a": 1, "b": True, "c": "2020-01-01"}'),
    Case(113, "print(decode_json('1.0'), encode_json({'b':1,'a':[]}))", prints="1.0 {"),
    Case(114, "encode_yaml((1,2))", error="unsupported type starlark.Tuple"),
    Case(
        116,
        "for i in range(2):\n  local_resource('r%d' % i, 'x')\nwhile i < 3: i += 1\nprint(i, set([1,1]))",
        resources={"r0": "local", "r1": "local"},
        prints="3 set([1])",
    ),
)
