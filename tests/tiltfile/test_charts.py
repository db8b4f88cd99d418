"""`helm` and `kustomize`: what is run, what becomes of its output, which files are recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ipytilt.core.events import Source
from ipytilt.tiltfile.host import Ran
from ipytilt.tiltfile.load import LoadError, load
from tests.support.dict_host import DictHost
from tests.tiltfile.evaluated import ROOT, evaluate

RENDERED = """---
# Source: chart/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: s
---
# Source: chart/templates/tests/check.yaml
apiVersion: v1
kind: Pod
metadata: {name: test}
---
# Source: chart/templates/other.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: c
  namespace: own
"""
CHART = {
    "chart/Chart.yaml": "name: chart\ndependencies: [{name: sub, repository: 'file://../sub'}, {repository: 'https://x'}]",
    "chart/requirements.yaml": "dependencies: [{name: old, repository: 'file:///old'}]",
    "chart/crds/a.yaml": "kind: CustomResourceDefinition",
    "chart/templates/service.yaml": "",
}
VERSION = {"helm version --short": Ran(0, "v3.14.2+gc309b6f\n")}


class Renders(DictHost):
    """A world in which every command not in the table prints the same text."""

    def __init__(self, files: dict[str, str], version: str, rendered: str) -> None:
        super().__init__({f"{ROOT}/{name}": text for name, text in files.items()}, directories=[ROOT])
        self._answers = {"helm version --short": Ran(0, version)}
        self._rendered = Ran(0, rendered)

    def run(self, argv: Sequence[str], **how: Any) -> Ran:
        self.ran.append((tuple(argv), how["cwd"], {}))
        return self._answers.get(" ".join(argv), self._rendered)


def rendering(text: str, version: str = "v3.14.2+gc309b6f\n") -> tuple[Renders, str]:
    """Evaluate `print(text)`; the world afterwards and what was printed."""
    world = Renders({**CHART, "Tiltfile": f"print({text})"}, version, RENDERED)
    loaded = load([Source("k", "Tiltfile", ROOT, path=f"{ROOT}/Tiltfile")], (), world)
    return world, "\n".join(loaded.log[1:])


@pytest.mark.parametrize(
    "text, words",
    [
        ("helm('chart')", "chart CHART --include-crds"),
        ("helm('chart', 'n', 'ns')", "n CHART --namespace ns --include-crds"),
        ("helm('chart', skip_crds=True, kube_version='1.30')", "chart CHART --kube-version 1.30"),
        (
            "helm('chart', values=['v.yaml', '../w.yaml'], set='a=b')",
            "chart CHART --include-crds --values v.yaml --values ../w.yaml --set a=b",
        ),
    ],
)
def test_how_helm_is_run(text: str, words: str) -> None:
    world, _ = rendering(text)
    assert world.ran == [
        (("helm", "version", "--short"), ROOT, {}),
        (("helm", "template", *words.replace("CHART", f"{ROOT}/chart").split()), ROOT, {}),
    ]


def test_what_a_chart_renders_to() -> None:
    _, text = rendering("helm('chart')")
    assert "kind: Service" in text
    assert "kind: ConfigMap" in text
    assert "kind: Pod" not in text


def test_a_namespace_for_objects_that_have_none() -> None:
    _, text = rendering("[d['metadata'] for d in decode_yaml_stream(helm('chart', namespace='ns'))]")
    assert json.loads(text) == [{"name": "s", "namespace": "ns"}, {"name": "c", "namespace": "own"}]


def test_helm_before_it_could_render_definitions() -> None:
    world, text = rendering("helm('chart')", "v3.0.3")
    assert "--include-crds" not in world.ran[1][0]
    assert text.startswith("kind: CustomResourceDefinition\n---\n")
    assert "CustomResourceDefinition" not in rendering("helm('chart', skip_crds=True)", "v3.0.3")[1]


def test_what_of_a_chart_is_watched() -> None:
    world, _ = rendering("helm('chart', values='v.yaml')")
    assert {f"{ROOT}/chart", f"{ROOT}/sub", "/old", f"{ROOT}/v.yaml"} <= set(world.reads)


KUSTOMIZATION = """
resources: [deploy.yaml, ../base, https://example.org/x]
patches: [{path: patch.yaml}, {patch: text}]
patchesStrategicMerge: [merge.yaml, "kind: inline"]
patchesJson6902: [{path: json.yaml}]
crds: [crd.json]
configMapGenerator: [{name: c, files: [a.txt, key=b.txt]}]
"""
OVERLAY = {
    "over/kustomization.yaml": KUSTOMIZATION,
    **{f"over/{name}": "" for name in ("deploy.yaml", "patch.yaml", "merge.yaml", "json.yaml", "crd.json")},
    **{f"over/{name}": "" for name in ("a.txt", "b.txt")},
    "base/Kustomization": "resources: [x.yaml, ../over]\ncomponents: [../part]",
    "base/x.yaml": "",
    "part/kustomization.yml": "",
    "bin/kustomize": "",
    "two/kustomization.yml": "",
    "two/Kustomization": "",
}


@pytest.mark.parametrize(
    "text, commands, ran",
    [
        ("kustomize('over')", {"kustomize version": "", "kustomize build over": "out"}, "kustomize build over"),
        ("kustomize('over')", {"kubectl kustomize over": "out"}, "kubectl kustomize over"),
        ("kustomize('over', flags=['--x'])", {"kubectl kustomize --x over": "out"}, "kubectl kustomize --x over"),
        (
            "kustomize('over', 'bin/kustomize')",
            {f"{ROOT}/bin/kustomize build over": "out"},
            "/bin/kustomize build over",
        ),
    ],
)
def test_how_kustomize_is_run(text: str, commands: dict[str, str], ran: str) -> None:
    answers = {command: Ran(0, output) for command, output in commands.items()}
    loaded = evaluate(f"print({text})", OVERLAY, commands=answers)
    assert loaded.log[0].endswith(ran)
    assert loaded.log[1] == "out"
    assert {f"{ROOT}/{name}" for name in OVERLAY if not name.startswith(("bin", "two"))} <= set(loaded.reads)


@pytest.mark.parametrize(
    "text, message",
    [
        ("helm('nowhere')", f'Could not read Helm chart directory "{ROOT}/nowhere": does not exist'),
        ("helm('chart/templates')", "helm() may only be called on directories with Chart.yaml"),
        ("helm('chart', values={'a': 'b'})", "is of type dict"),
        ("kustomize('chart')", "unable to find one of 'kustomization.yaml'"),
        ("kustomize('two')", f"Found multiple kustomization files under: {ROOT}/two"),
        ("kustomize('over', 'nothing')", f'kustomize: "{ROOT}/nothing" does not exist'),
        ("kustomize('over')", 'command "kubectl kustomize over" failed'),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        evaluate(text, {**CHART, **OVERLAY}, commands=VERSION)
    assert message in caught.value.message


@pytest.mark.parametrize(
    "ran, message",
    [
        (None, "Unable to find Helm installation"),
        (Ran(0, "Client: v2.16.1"), 'could not parse Helm version from string "Client: v2.16.1"'),
        (Ran(0, "?"), 'could not parse Helm version from string "?"'),
        (Ran(0, "v4.0.0"), "helm template chart"),
        (Ran(0, "WARNING: your config is readable by others: v1.1.1\nv3.9.1+g1\n"), "helm template chart"),
    ],
)
def test_helm_that_cannot_be_used(ran: Ran | None, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        evaluate("helm('chart')", CHART, commands={"helm version --short": ran} if ran else {})
    assert message in caught.value.message
