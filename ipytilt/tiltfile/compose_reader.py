"""Our own reader of Compose files, for machines without the Compose CLI: the common subset, in the CLI's output shape.

Runs on the evaluating thread; files come through the host and are recorded. Each file is interpolated, each service is
brought into the long form, then files are merged in order; what this reader does not know passes through.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ipytilt.core.spec import ComposeProject
from ipytilt.tiltfile import compose_rules
from ipytilt.tiltfile.builtins.yaml_text import COMPOSE, YamlError, documents
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.host import Host
from ipytilt.tiltfile.pathnames import absolute, dirname

Config = dict[str, Any]

_REPLACED = ("command", "entrypoint", "test")  # lists that a later file replaces instead of extending


def read_config(project: ComposeProject, host: Host) -> Config:
    """The effective configuration of a project; `Wrong` names the file and service that make none."""
    return _Reader(project, host, _variables(project, host)).config()


def _variables(project: ComposeProject, host: Host) -> dict[str, str]:
    path = project.env_file or absolute(project.directory, ".env")
    try:
        text = host.read(path, record=bool(project.env_file)).decode(errors="replace")
    except OSError as error:
        if project.env_file:
            raise Wrong(f"couldn't find env file: {path}: {error.strerror}") from None
        text = ""
    return {**dict(_dotenv(text, dict(host.environ))), **host.environ}


_ASSIGNMENT = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?([\w.-]+)[ \t]*  # the name
    (?:[=:][ \t]*(?:'([^']*)'|"((?:[^"\\]|\\.)*)"|([^\n]*)))?  # a literal, quoted or plain value
    """,
    re.MULTILINE | re.VERBOSE,
)


def _dotenv(text: str, known: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The assignments of an env file; later ones may use earlier ones."""
    for match in _ASSIGNMENT.finditer(text.replace("\r\n", "\n")):
        name, literal, quoted, plain = match.groups()
        if literal is not None:
            value = literal
        elif quoted is not None:
            value = interpolated(re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), quoted), known)
        elif plain is not None:
            value = interpolated(re.split(r"(?:^|\s)#", plain, maxsplit=1)[0].strip(), known)
        elif name in known:
            value = known[name]
        else:
            continue
        known.setdefault(name, value)
        yield name, value


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the files of one project with the variables they are interpolated with."""

    project: ComposeProject
    host: Host
    variables: Mapping[str, str]

    def config(self) -> Config:
        """Everything merged, inactive services left out, Compose's defaults filled in."""
        project = self.project
        merged: Config = {}
        for path in project.config_paths:
            parsed, replaced = self._parsed(path)
            merged = _merge(compose_rules.without(merged, replaced), self._file(parsed, path, project.directory))
        found = merged.get("services", {})
        active = [name for name in sorted(found) if _is_active(found[name], project.profiles)]
        services = merged["services"] = {name: self._finished(name, found[name]) for name in active}
        networks = merged.get("networks") or {}
        if any("default" in (service.get("networks") or {}) for service in services.values()):
            networks = {"default": {}, **networks}
        defaults: dict[str, Config] = {"networks": {"ipam": {}}, "volumes": {}}
        for kind, named in (("networks", networks), ("volumes", merged.get("volumes") or {})):
            full = {key: {"name": f"{project.name}_{key}", **defaults[kind], **(of or {})} for key, of in named.items()}
            if full:
                merged[kind] = full
        compose_rules.check_references(merged)
        return {**merged, "name": project.name}

    def _file(self, parsed: Config, path: str, base: str) -> Config:
        """One file, interpolated, its services in long form with paths seen from `base`, references resolved."""
        config = _interpolate_all(parsed, self.variables, path)
        raw = config.get("services") or {}
        config["services"] = {name: self._extended(name, raw, base) for name in raw}
        included: Config = {}
        for entry in config.pop("include", None) or []:
            paths = entry.get("path", []) if isinstance(entry, dict) else entry
            for other in [paths] if isinstance(paths, str) else paths:
                included = _merge(included, self._beside(absolute(base, other)))
        return _merge(included, config)

    def _beside(self, path: str) -> Config:
        """A file that another one refers to: its paths start from its own folder."""
        return self._file(self._parsed(path)[0], path, dirname(path))

    def _parsed(self, path: str) -> tuple[Config, list[compose_rules.Path]]:
        """A file, and the places where it replaces what files before it say."""
        try:
            parsed = list(documents(self.host.read(path).decode(errors="replace"), COMPOSE))
        except OSError as error:
            raise Wrong(f"open {path}: {(error.strerror or str(error)).lower()}") from None
        except YamlError as error:
            raise Wrong(f"parsing {path}: {error}") from None
        config, replaced = compose_rules.untagged(parsed[0] if parsed else None)
        if config is None:
            raise Wrong(f"parsing {path}: empty compose file")
        if not isinstance(config, dict) or not isinstance(config.get("services") or {}, dict):
            raise Wrong(f"validating {path}: services must be a mapping")
        compose_rules.check_file(config, path)
        return config, replaced

    def _extended(self, name: str, services: Mapping[str, Config], base: str, *, chain: tuple[str, ...] = ()) -> Config:
        """A service of one file on top of the one it extends, here or in another file."""
        if name in chain:
            raise Wrong(f"circular reference: service {' -> '.join([*chain, name])} extends itself")
        service = dict(services[name])
        extends = service.pop("extends", None)
        own = _long_form(name, service, base, self.variables)
        if not extends:
            return own
        target = extends if isinstance(extends, dict) else {"service": extends}
        parent, file = str(target.get("service", "")), target.get("file")
        inherited = None
        if file:
            inherited = self._beside(absolute(base, file))["services"].get(parent)
        elif parent in services:
            inherited = self._extended(parent, services, base, chain=(*chain, name))
        if inherited is None:
            raise Wrong(f'service "{name}" extends "{parent}", which is not defined{" in " + file if file else ""}')
        return _merge(inherited, own)

    def _finished(self, name: str, service: Config) -> Config:
        """The merged service with its env files read and Compose's defaults filled in."""
        result = {"command": None, "entrypoint": None, **service}
        if "image" not in result and "build" not in result:
            raise Wrong(f'service "{name}" has neither an image nor a build context specified: invalid compose project')
        environment: dict[str, Any] = {}
        for entry in result.pop("env_file", ()):
            environment |= self._env_file(name, entry)
        environment |= result.get("environment") or {}
        if environment:
            result["environment"] = environment
        if "build" in result:
            default = {} if "dockerfile_inline" in result["build"] else {"dockerfile": "Dockerfile"}
            result["build"] = {**default, **result["build"]}
            args = result["build"].get("args")
            if args:
                result["build"]["args"] = {key: value for key, value in args.items() if value is not None}
        if not result.get("profiles"):
            result.pop("profiles", None)
        if "network_mode" not in result:
            result.setdefault("networks", {"default": None})
        needed = compose_rules.implied_dependencies(result)
        return {**result, "depends_on": needed} if needed else result

    def _env_file(self, name: str, entry: Config) -> dict[str, str]:
        try:
            text = self.host.read(entry["path"]).decode(errors="replace")
        except OSError as error:
            if entry["required"]:
                raise Wrong(f"service {name}: env file {entry['path']} not found: {error.strerror}") from None
            return {}
        return dict(_dotenv(text, dict(self.variables)))


def _is_active(service: Config, profiles: tuple[str, ...]) -> bool:
    wanted = service.get("profiles") or []
    return not wanted or "*" in profiles or bool(set(wanted) & set(profiles))


# ---------------------------------------------------------------------------------------------- interpolation

_DOLLAR = re.compile(r"\$(?:(?P<escaped>\$)|(?P<name>[A-Za-z_]\w*)|(?P<brace>\{))")
_BRACED = re.compile(r"([A-Za-z_]\w*)(?:(:?[-+?])(.*))?$", re.DOTALL)


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """`$VAR`, `${VAR}`, `${VAR:-x}`, `${VAR:+x}`, `${VAR:?why}` (nested too) replaced; `$$` is a dollar sign."""
    parts, position = [], 0
    while match := _DOLLAR.search(text, position):
        parts.append(text[position : match.start()])
        position = match.end()
        if match["escaped"]:
            parts.append("$")
        elif match["name"]:
            parts.append(variables.get(match["name"], ""))
        else:
            end = _closing_brace(text, position)
            parts.append(_braced(text[position:end], variables))
            position = end + 1
    return "".join([*parts, text[position:]])


def _closing_brace(text: str, start: int) -> int:
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": text[position - 1] == "$", "}": -1}.get(text[position], 0)
        if not depth:
            return position
    raise Wrong(f'invalid interpolation format: "{text}". You may need to escape any $ with another $')


def _braced(inner: str, variables: Mapping[str, str]) -> str:
    match = _BRACED.match(inner)
    if not match:
        raise Wrong(f'invalid interpolation format: "${{{inner}}}". You may need to escape any $ with another $')
    name, operator, other = match[1], match[2] or "", match[3] or ""
    value = variables.get(name, "")
    given = bool(value) if operator.startswith(":") else name in variables
    match operator[-1:]:
        case "-":
            return value if given else interpolated(other, variables)
        case "+":
            return interpolated(other, variables) if given else ""
        case "?" if not given:
            raise Wrong(f"required variable {name} is missing a value: {interpolated(other, variables)}")
        case _:
            return value


def _interpolate_all(value: Any, variables: Mapping[str, str], where: str) -> Any:
    if isinstance(value, str):
        try:
            return interpolated(value, variables)
        except Wrong as wrong:
            raise Wrong(f"{where}: {wrong.message}") from None
    if isinstance(value, list):
        return [_interpolate_all(item, variables, where) for item in value]
    if isinstance(value, dict):
        return {key: _interpolate_all(item, variables, where) for key, item in value.items()}
    return value


# ---------------------------------------------------------------------------------------------- long form


def _long_form(name: str, service: Config, base: str, variables: Mapping[str, str]) -> Config:
    """A service as one file defines it, every short form written out and every path absolute."""
    result = dict(service)
    for key, convert in _LONG_FORMS.items():
        if result.get(key) is not None:
            try:
                result[key] = convert(result[key], base, variables)
            except (TypeError, ValueError, AttributeError, KeyError) as error:
                raise Wrong(f"services.{name}.{key}: cannot be understood: {error}") from None
    return result


def _argv(value: Any, _base: str, _variables: Mapping[str, str]) -> Any:
    return shlex.split(value) if isinstance(value, str) else value


def _build(value: Any, base: str, variables: Mapping[str, str]) -> Config:
    build = {"context": value} if isinstance(value, str) else dict(value)
    context = build.get("context", ".")
    remote = "://" in context or context.startswith(("git@", "github.com/"))
    build["context"] = context if remote else absolute(base, context)
    if "args" in build:
        build["args"] = _mapping(build["args"], base, variables)
    return build


def _mapping(value: Any, _base: str, variables: Mapping[str, str]) -> dict[str, str | None]:
    """`K=V` strings or a map; a key without value takes it from the environment, None if there is none."""
    pairs = dict(_pair(str(item)) for item in value) if isinstance(value, list) else value
    return {key: variables.get(key) if item is None else _scalar(item) for key, item in pairs.items()}


def _pair(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    return key, value if equals else None


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _labels(value: Any, _base: str, _variables: Mapping[str, str]) -> dict[str, str]:
    pairs = dict(_pair(str(item)) for item in value) if isinstance(value, list) else value
    return {key: "" if item is None else _scalar(item) for key, item in pairs.items()}


def _env_file(value: Any, base: str, _variables: Mapping[str, str]) -> list[Config]:
    entries = value if isinstance(value, list) else [value]
    long = [entry if isinstance(entry, dict) else {"path": str(entry)} for entry in entries]
    return [{"required": True, **entry, "path": absolute(base, entry["path"])} for entry in long]


def _develop(value: Any, base: str, _variables: Mapping[str, str]) -> Config:
    rules = [{**rule, "path": absolute(base, rule["path"])} for rule in value.get("watch") or []]
    return {**value, "watch": rules} if rules else value


def _depends_on(value: Any, _base: str, _variables: Mapping[str, str]) -> Config:
    names = dict.fromkeys(value) if isinstance(value, list) else value
    return {name: {"condition": "service_started", "required": True, **(how or {})} for name, how in names.items()}


def _networks(value: Any, _base: str, _variables: Mapping[str, str]) -> Config:
    return dict.fromkeys(value) if isinstance(value, list) else value


def _ports(value: Any, _base: str, _variables: Mapping[str, str]) -> list[Config]:
    ports = []
    for entry in value:
        if isinstance(entry, dict):
            published = {"published": str(entry["published"])} if "published" in entry else {}
            ports.append({"mode": "ingress", "protocol": "tcp", **entry, **published})
        else:
            ports += _short_ports(str(entry))
    return ports


_PORT = re.compile(
    r"(?:(?:(?P<host>\[[^\]]*\]|[\d.]+):)?(?P<published>[\d-]*):)?(?P<target>\d+(?:-\d+)?)(?:/(?P<protocol>\w+))?$"
)


def _short_ports(text: str) -> Iterator[Config]:
    match = _PORT.match(text)
    if not match:
        raise Wrong(f"invalid containerPort: {text}")
    targets = _range(match["target"])
    published = match["published"] or ""
    sources = [str(port) for port in _range(published)] if published else []
    if len(targets) == 1 and len(sources) > 1:
        sources = [published]  # any of the range
    for index, target in enumerate(targets):
        port: Config = {"mode": "ingress", "target": target, "protocol": match["protocol"] or "tcp"}
        if match["host"]:
            port["host_ip"] = match["host"].strip("[]")
        if sources:
            port["published"] = sources[min(index, len(sources) - 1)]
        yield port


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    return range(int(first), int(last if dash else first) + 1)


def _volumes(value: Any, base: str, variables: Mapping[str, str]) -> list[Config]:
    return [_volume(entry, base, variables.get("HOME", "~")) for entry in value]


def _volume(entry: Any, base: str, home: str) -> Config:
    def on_host(path: str) -> str:
        return absolute(base, home + path[1:] if path == "~" or path.startswith("~/") else path)

    if isinstance(entry, dict):
        bound = entry.get("type") == "bind" and "source" in entry
        return {**entry, "source": on_host(entry["source"])} if bound else dict(entry)
    source, *rest = str(entry).split(":")
    if not rest:
        return {"type": "volume", "target": source, "volume": {}}
    modes = rest[1].split(",") if len(rest) > 1 else []
    volume: Config = {"type": "volume", "source": source, "target": rest[0]}
    if source.startswith((".", "/", "~")):
        volume |= {"type": "bind", "source": on_host(source)}
    volume |= {"read_only": True} if "ro" in modes else {}
    volume[volume["type"]] = {"create_host_path": True} if volume["type"] == "bind" else {}
    return volume


_LONG_FORMS: dict[str, Callable[[Any, str, Mapping[str, str]], Any]] = {
    "command": _argv,
    "entrypoint": _argv,
    "build": _build,
    "environment": _mapping,
    "labels": _labels,
    "env_file": _env_file,
    "depends_on": _depends_on,
    "develop": _develop,
    "networks": _networks,
    "ports": _ports,
    "volumes": _volumes,
}


# ---------------------------------------------------------------------------------------------- merging


def _merge(base: Config, over: Config, *, key: str = "") -> Config:
    """`over` on top of `base`: maps merged, lists joined without repeats, everything else replaced."""
    result = dict(base)
    for name, value in over.items():
        old = result.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            result[name] = _merge(old, value, key=name)
        elif isinstance(old, list) and isinstance(value, list) and name not in _REPLACED:
            result[name] = _joined(old, value)
        elif value is not None or name not in result or key == "environment":
            result[name] = value
    return result


def _joined(old: list[Any], new: list[Any]) -> list[Any]:
    """What is new stands at the end; a volume takes the place of an older one with the same target."""
    targets = {item.get("target"): item for item in new if isinstance(item, dict) and "type" in item}
    kept = [
        targets.get(item.get("target"), item) if isinstance(item, dict) and "type" in item else item for item in old
    ]
    return kept + [item for item in new if item not in kept]
