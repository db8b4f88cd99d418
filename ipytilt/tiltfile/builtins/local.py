"""Local work: `local`, `local_resource`, `test`, probes, links, ports and trigger modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from ipytilt.core.spec import (
    Command,
    ExecAction,
    HTTPGetAction,
    PortForward,
    Probe,
    TCPSocketAction,
    TriggerMode,
)
from ipytilt.processes import describe
from ipytilt.starlark import Struct, type_name
from ipytilt.tiltfile import kube_context, urls
from ipytilt.tiltfile.builtin import Kind, Registered, builtin, constant
from ipytilt.tiltfile.draft import LocalDraft, Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.values import Blob, ModeValue, PortForwardValue
from ipytilt.tiltfile.vocabulary import (
    UNSET,
    Cmd,
    CommandEnv,
    Env,
    Ignores,
    Int32,
    Labels,
    Links,
    MaybePath,
    Mode,
    Name,
    Paths,
    Seq,
    Text,
    link_url,
)


@builtin("local")
def local(
    ev: Eval,
    command: Cmd,
    quiet: bool = False,
    command_bat: Cmd | None = None,
    echo_off: bool = False,
    env: Env = {},  # noqa: B006 - never changed
    dir: MaybePath = None,
    stdin: Text = "",
) -> Blob:
    """Run a command on this machine, now, and return what it prints, as a Blob (`str(...)` makes it a string).

    Its output goes to the log too, unless `quiet`; the command itself is logged unless `echo_off`. It runs in `dir`
    (default: the Tiltfile's folder), with `env` on top of the environment and `stdin` as its input. A command that
    fails is an error. It is refused while the current Kubernetes context is not allowed. `command_bat` is for Windows.
    """
    del command_bat
    if not command:
        raise Wrong("empty cmd")
    problem = "Refusing to run 'local' because {} might be a production kube context."
    kube_context.check_allowed(kube_context.current(ev.host), ev.draft.kube.allowed_contexts, problem)
    shown = describe(command)
    if not echo_off:
        ev.log(f"local: {shown}")
    before = len(ev.lines)
    ran = ev.run(command, cwd=dir or ev.dir, env=env, stdin=stdin, quiet=quiet)
    if len(ev.lines) == before and not quiet and not echo_off:
        ev.log(" → [no output]")
    return Blob(ran.stdout, f"local: {shown}")


def _probe(_ev: Eval, value: Any) -> Probe | None:
    if value is None:
        return None
    if not isinstance(value, Struct) or value.type_name != "Probe":
        raise Wrong(f"got {type_name(value)}, want Probe")
    fields = value.fields
    action = next(filter(None, map(fields.get, _ACTIONS)))
    seconds = {name: number for name, number in fields.items() if name not in _ACTIONS}
    return Probe(action=_ACTION_TYPES[action.type_name](**_action_fields(action)), **seconds)


_ACTIONS = ("exec", "http_get", "tcp_socket")
_ACTION_TYPES = {"ExecAction": ExecAction, "HTTPGetAction": HTTPGetAction, "TCPSocketAction": TCPSocketAction}


def _action_fields(action: Struct) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in action.fields.items()}


ProbeOrNone = Annotated[Probe | None, Kind("Probe", _probe)]


@builtin("local_resource")
def local_resource(
    ev: Eval,
    name: Name,
    cmd: Cmd | None = None,
    deps: Paths = (),
    trigger_mode: Mode | None = None,
    resource_deps: Seq = (),
    ignore: Ignores = (),
    auto_init: bool = True,
    serve_cmd: Cmd | None = None,
    cmd_bat: Cmd | None = None,
    serve_cmd_bat: Cmd | None = None,
    allow_parallel: bool = False,
    links: Links = (),
    labels: Labels = (),
    env: CommandEnv = (),
    serve_env: CommandEnv = (),
    readiness_probe: ProbeOrNone = None,
    dir: MaybePath = UNSET,
    serve_dir: MaybePath = UNSET,
) -> None:
    """Run `cmd` on this machine at start and whenever one of `deps` changes, and keep `serve_cmd` running.

    The server is restarted after each successful `cmd`; `readiness_probe` tells when it is ready. Commands are shell
    scripts or lists of words and run in `dir` and `serve_dir`, with `env` and `serve_env` on top of the environment.
    `ignore` patterns are relative to the Tiltfile's folder. `resource_deps` are resources to be ready before the first
    run. `auto_init=False` does not run it at start, `trigger_mode=TRIGGER_MODE_MANUAL` not by itself on changes;
    `allow_parallel` lets it run beside other local commands. `links` and `labels` are shown beside it. `cmd_bat` and
    `serve_cmd_bat` are for Windows.
    """
    del cmd_bat, serve_cmd_bat
    _check_commands(cmd, serve_cmd, dir_given=dir is not UNSET, serve_dir_given=serve_dir is not UNSET)
    if readiness_probe and not serve_cmd:
        ev.warn(f"Ignoring readiness probe for local resource {name}: it has no serve_cmd")
        readiness_probe = None
    origin, source = ev.origin(), ev.current.source
    ev.draft.claim(name, "local_resource", origin, source=source)

    def command(argv: tuple[str, ...] | None, where: Any, extra: tuple[str, ...]) -> Command | None:
        return Command(argv, where if where is not UNSET and where else ev.dir, extra, origin) if argv else None

    ev.draft.locals.append(
        LocalDraft(
            name=name,
            origin=origin,
            source=source,
            trigger_mode=trigger_mode,
            auto_init=auto_init,
            resource_deps=list(resource_deps),
            labels=set(labels),
            links=list(links),
            cmd=command(cmd, dir, env),
            serve=command(serve_cmd, serve_dir, serve_env),
            deps=deps,
            ignore=ignore,
            dir=ev.dir,
            allow_parallel=allow_parallel,
            probe=readiness_probe,
        )
    )


def _check_commands(cmd: object, serve_cmd: object, *, dir_given: bool, serve_dir_given: bool) -> None:
    if not cmd and not serve_cmd:
        raise Wrong("local_resource must have a cmd and/or a serve_cmd, but both were empty")
    if dir_given and not cmd:
        raise Wrong("'dir' specified but 'cmd' is empty. Did you mean to use 'serve_dir' instead?")
    if serve_dir_given and not serve_cmd:
        raise Wrong("'serve_dir' specified but 'serve_cmd' is empty. Did you mean to use 'dir' instead?")


@builtin("test", raw=True, shown="name, cmd=None, ...")
def test(ev: Eval, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Older name of `local_resource`, with `allow_parallel=True`; a warning says so."""
    ev.warn("test() is deprecated and will be removed in a future release. Use local_resource() instead.")
    function = Registered("test", local_resource, raw=False)
    at = [parameter.name for parameter in function.parameters].index("allow_parallel")
    function.call(ev, args, kwargs if len(args) > at else {"allow_parallel": True, **kwargs})


# ---------------------------------------------------------------------------------------------- probes


def _action(cls: str) -> Kind:
    def convert(_ev: Eval, value: Any) -> Struct | None:
        if value is not None and (not isinstance(value, Struct) or value.type_name != cls):
            raise Wrong(f"got {type_name(value)}, want {cls}")
        return value

    return Kind(cls, convert)


@builtin("probe")
def probe(
    ev: Eval,
    initial_delay_secs: Int32 = 0,
    timeout_secs: Int32 = 0,
    period_secs: Int32 = 0,
    success_threshold: Int32 = 0,
    failure_threshold: Int32 = 0,
    exec: Annotated[Struct | None, _action("ExecAction")] = None,
    http_get: Annotated[Struct | None, _action("HTTPGetAction")] = None,
    tcp_socket: Annotated[Struct | None, _action("TCPSocketAction")] = None,
) -> Struct:
    """How to find out whether a server is ready: exactly one of `exec`, `http_get`, `tcp_socket`.

    0 means the default: `timeout_secs` 1, every `period_secs` 10, ready after `success_threshold` 1, not ready after
    `failure_threshold` 3 in a row. `initial_delay_secs` is waited before the first one.
    """
    del ev
    if sum(action is not None for action in (exec, http_get, tcp_socket)) != 1:
        raise Wrong("exactly one of exec, http_get, or tcp_socket must be specified")
    fields = {
        "initial_delay_secs": initial_delay_secs,
        "timeout_secs": timeout_secs,
        "period_secs": period_secs,
        "success_threshold": success_threshold,
        "failure_threshold": failure_threshold,
        "exec": exec,
        "http_get": http_get,
        "tcp_socket": tcp_socket,
    }
    return Struct(fields, constructor="Probe", type_name="Probe")


@builtin("exec_action")
def exec_action(ev: Eval, command: Seq) -> Struct:
    """A probe that runs a command, given as a list of words, on this machine: exit code 0 is success."""
    del ev
    return Struct({"command": command}, constructor="ExecAction", type_name="ExecAction")


@builtin("http_get_action")
def http_get_action(ev: Eval, port: Int32, host: str = "", scheme: str = "", path: str = "") -> Struct:
    """A probe by HTTP GET: status 200 to 399 is success.

    `host` defaults to localhost, `scheme` to HTTP.
    """
    del ev
    fields = {"port": port, "host": host, "scheme": scheme.upper(), "path": path}
    return Struct(fields, constructor="HTTPGetAction", type_name="HTTPGetAction")


@builtin("tcp_socket_action")
def tcp_socket_action(ev: Eval, port: Int32, host: str = "") -> Struct:
    """A probe by TCP connection to `port` of `host` (default: localhost): being let in is success."""
    del ev
    return Struct({"port": port, "host": host}, constructor="TCPSocketAction", type_name="TCPSocketAction")


# ---------------------------------------------------------------------------------------------- links, ports, modes


@builtin("link")
def link(ev: Eval, url: str, name: str = "") -> Struct:
    """A link to show beside a resource, under `name` if given. A `url` without a scheme gets `http`."""
    del ev
    try:
        fields = {"url": link_url(url), "name": name}
    except Wrong as wrong:
        raise Wrong(f'validating URL "{url}": {wrong.message}') from None
    return Struct(fields, constructor="link")


@builtin("port_forward")
def port_forward(
    ev: Eval, local_port: int, container_port: int = 0, name: str = "", link_path: str = "", host: str = ""
) -> PortForwardValue:
    """A port of this machine that leads to a port of a pod, for `k8s_resource(port_forwards=...)`.

    `container_port` 0 means the same port if the container has it, else its first one. `name` and `link_path` make the
    link shown for it; `host` is the address listened on (default: localhost).
    """
    del ev
    try:
        urls.normal(link_path, scheme="http")
    except ValueError as error:
        raise Wrong(f"parsing `link_path` param: {error}") from None
    return PortForwardValue(PortForward(local_port, container_port, host, name, link_path.removeprefix("/")))


@builtin("trigger_mode")
def trigger_mode(ev: Eval, trigger_mode: Mode) -> None:
    """The trigger mode of every resource that does not say its own; once.

    `TRIGGER_MODE_AUTO` updates on changes, `TRIGGER_MODE_MANUAL` only when somebody asks.
    """
    if ev.draft.trigger_mode:
        where = ev.draft.trigger_mode[1]
        raise Wrong(f"trigger_mode can only be called once. It was already called at {where}:{where.column}")
    ev.draft.trigger_mode = (trigger_mode, ev.origin())


@constant("TRIGGER_MODE_AUTO")
def _auto(_ev: Eval) -> ModeValue:
    """Update a resource by itself when its files change: the default."""
    return ModeValue(TriggerMode.AUTO)


@constant("TRIGGER_MODE_MANUAL")
def _manual(_ev: Eval) -> ModeValue:
    """Update a resource only when somebody triggers it; it says when it has changes waiting."""
    return ModeValue(TriggerMode.MANUAL)
