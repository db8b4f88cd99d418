"""YAML that other tools render: `helm` and `kustomize`, through their command-line programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ipytilt.processes import StartFailed, describe
from ipytilt.tiltfile.builtin import builtin
from ipytilt.tiltfile.builtins.yaml_text import YamlError, documents
from ipytilt.tiltfile.draft import Wrong
from ipytilt.tiltfile.evaluation import Eval
from ipytilt.tiltfile.kube_yaml import parse, serialize
from ipytilt.tiltfile.pathnames import absolute, join, relative
from ipytilt.tiltfile.values import Blob
from ipytilt.tiltfile.vocabulary import MaybePath, Path, StrList, Strs


@builtin("helm")
def helm(
    ev: Eval,
    paths: Path,
    name: str = "",
    namespace: str = "",
    values: Strs = (),
    set: Strs = (),
    kube_version: str = "",
    skip_crds: bool = False,
) -> Blob:
    """The YAML a Helm chart renders to, without its tests, as a Blob for `k8s_yaml`. Needs the program helm 3 or 4.

    `paths` is the chart's folder, `values` are value files, `set` are "key=value" settings, `name` is the release
    (default: "chart"). With `namespace`, every object that names none gets it. `skip_crds` leaves custom resource
    definitions out. A change in the chart or in a value file evaluates the Tiltfile again.
    """
    if not ev.host.exists(paths):
        raise Wrong(f'Could not read Helm chart directory "{paths}": does not exist')
    if not ev.host.is_dir(paths) or not ev.host.exists(join(paths, "Chart.yaml")):
        raise Wrong(f'helm() may only be called on directories with Chart.yaml: "{paths}"')
    for path in (paths, *_local_charts(ev, paths), *map(ev.path, values)):
        ev.host.record(path)
    old = _helm_version(ev) == (3, 0)
    argv: tuple[str, ...] = ("helm", "template", name or "chart", paths)
    argv += ("--namespace", namespace) if namespace else ()
    argv += ("--kube-version", kube_version) if kube_version else ()
    argv += () if skip_crds or old else ("--include-crds",)
    for flag, items in (("--values", values), ("--set", set)):
        argv += tuple(word for item in items for word in (flag, item))
    text = _rendered(ev, argv)
    if old and not skip_crds:
        text = "\n---\n".join([*_crds(ev, paths), text])
    kept = [part for part in re.split(r"(?m)^---\s*$\n?", text) if not _is_test(part)]
    text = "\n---\n".join(part.strip("\n") for part in kept if part.strip())
    return Blob(_in_namespace(text, namespace, paths) if namespace else text, f"helm: {paths}")


def _helm_version(ev: Eval) -> tuple[int, int]:
    try:
        ran = ev.host.run(("helm", "version", "--short"), cwd=ev.dir, cancelled=ev.cancelled)
    except StartFailed as error:
        hint = "install Helm 3 or 4: https://helm.sh/docs/intro/install/"
        raise Wrong(f"Unable to find Helm installation. {error.message}", hint=hint) from None
    match = re.search(r"(?m)^v?(\d+)\.(\d+)\.", ran.stdout)  # warnings may stand before it
    if not match or int(match[1]) not in (3, 4):
        raise Wrong(f'could not parse Helm version from string "{ran.stdout.strip()}": v3 or v4 is needed')
    return int(match[1]), int(match[2])


def _rendered(ev: Eval, argv: tuple[str, ...]) -> str:
    ev.log(f"local: {describe(argv)}")
    return ev.run(argv, cwd=ev.dir).stdout


_TEST = re.compile(r"(?m)^# Source: .*/tests/")


def _is_test(document: str) -> bool:
    return bool(_TEST.search(document))


def _crds(ev: Eval, chart: str) -> Iterator[str]:
    for path in ev.host.files(join(chart, "crds"), recursive=True):
        yield ev.read(path, "error reading custom resource definitions")


def _local_charts(ev: Eval, chart: str) -> Iterator[str]:
    """Folders of the sub-charts a chart names by `file://`."""
    for name in ("Chart.yaml", "requirements.yaml"):
        for dependency in _map(ev, join(chart, name)).get("dependencies") or []:
            repository = str(dependency.get("repository", "")) if isinstance(dependency, dict) else ""
            if repository.startswith("file://"):
                yield absolute(chart, repository.removeprefix("file://"))


def _in_namespace(text: str, namespace: str, place: str) -> str:
    found = parse(text, f"helm: {place}")
    for document in found:
        about = document.setdefault("metadata", {})
        if isinstance(about, dict) and not about.get("namespace"):
            about["namespace"] = namespace
    return serialize(found)


# ---------------------------------------------------------------------------------------------- kustomize

_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")


@builtin("kustomize")
def kustomize(ev: Eval, paths: Path, kustomize_bin: MaybePath = None, flags: StrList = ()) -> Blob:
    """The YAML a kustomization renders to, as a Blob for `k8s_yaml`: by `kustomize build` or else `kubectl kustomize`.

    `paths` is its folder, `kustomize_bin` the path of the program, `flags` are passed to it. A change of any file the
    kustomization names evaluates the Tiltfile again.
    """
    for path in dict.fromkeys(_kustomized(ev, paths, set())):
        ev.host.record(path)
    if kustomize_bin and not ev.host.exists(kustomize_bin):
        raise Wrong(f'kustomize: "{kustomize_bin}" does not exist')
    words = (kustomize_bin, "build") if kustomize_bin else ("kustomize", "build")
    if not kustomize_bin and not _starts(ev, ("kustomize", "version")):
        words = ("kubectl", "kustomize")
    return Blob(_rendered(ev, (*words, *flags, relative(ev.dir, paths))), f"kustomize: {paths}")


def _starts(ev: Eval, argv: tuple[str, ...]) -> bool:
    try:
        ev.host.run(argv, cwd=ev.dir, cancelled=ev.cancelled)
    except StartFailed:
        return False
    return True


def _kustomized(ev: Eval, folder: str, seen: set[str]) -> Iterator[str]:
    """Every file a kustomization is made of, itself included; those of the folders it builds on as well."""
    own = [path for name in _KUSTOMIZATIONS if ev.host.exists(path := join(folder, name))]
    if not own:
        names = ", ".join(f"'{name}'" for name in _KUSTOMIZATIONS)
        raise Wrong(f"unable to find one of {names} in directory '{folder}'")
    if len(own) > 1:
        raise Wrong(f"Found multiple kustomization files under: {folder}")
    if folder in seen:
        return
    seen.add(folder)
    yield own[0]
    for path in _named_paths(_map(ev, own[0])):
        full = absolute(folder, path)
        if ev.host.is_dir(full):
            yield from _kustomized(ev, full, seen)
        elif ev.host.exists(full):  # what is no file is fetched by kustomize itself, or patch text
            yield full


def _named_paths(kustomization: dict[str, Any]) -> Iterator[str]:
    for field in ("bases", "components", "resources", "patchesStrategicMerge", "crds"):
        yield from (item for item in kustomization.get(field) or [] if isinstance(item, str))
    for field in ("patches", "patchesJson6902"):
        for patch in kustomization.get(field) or []:
            yield from [patch["path"]] if isinstance(patch, dict) and isinstance(patch.get("path"), str) else []
    for generator in kustomization.get("configMapGenerator") or []:
        files = generator.get("files") if isinstance(generator, dict) else None
        yield from (str(item).rpartition("=")[2] for item in files or [])


def _map(ev: Eval, path: str) -> dict[str, Any]:
    """A YAML file with one map; empty if there is none."""
    if not ev.host.exists(path):
        return {}
    try:
        found = next(documents(ev.read(path, f"error reading {path}")), None)
    except YamlError as error:
        raise Wrong(f"error parsing YAML from {path}: {error}") from None
    return found if isinstance(found, dict) else {}
