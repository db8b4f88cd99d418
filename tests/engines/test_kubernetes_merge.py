"""The patches an apply sends, as values. Runs on pytest's thread."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ipytilt.engines.kubernetes.merge import LAST_APPLIED, annotated, last_applied, plain_patch, strategic_patch


@pytest.mark.parametrize(
    "before, document, patch",
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": None}),
        ({"a": {"b": 1, "c": {"d": 1}}}, {"a": {"c": {}}}, {"a": {"b": None, "c": {"d": None}}}),
        ({"a": [1]}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"env": [{"name": "a"}]}, {"env": [{"name": "b"}]}, {"env": [{"name": "b"}]}),
    ],
)
def test_a_plain_patch_is_the_document_and_what_is_to_go(
    before: dict[str, Any], document: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert plain_patch(before, document) == patch


A, B, C = ({"name": name} for name in "abc")


@pytest.mark.parametrize(
    "before, document, patch",
    [
        ({"x": {"y": 1}}, {"x": {"z": 2}}, {"x": {"y": None, "z": 2}}),
        (
            {"env": [{**A, "value": "1"}, B]},
            {"env": [C, A]},
            {
                "env": [C, {**A, "value": None}, {"$patch": "delete", **B}],
                "$setElementOrder/env": [C, A],
            },
        ),
        ({"env": [A]}, {}, {"env": None}),
        ({"env": [A, B]}, {"env": []}, {"env": [{"$patch": "delete", **A}, {"$patch": "delete", **B}]}),
        ({"args": ["a", "b"]}, {"args": ["b"]}, {"args": ["b"]}),
        ({}, {"rules": [A]}, {"rules": [A]}),
        (
            {},
            {"ports": [{"port": 80}]},
            {"ports": [{"port": 80}], "$setElementOrder/ports": [{"port": 80}]},
        ),
        (
            {},
            {"ports": [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]},
            {
                "ports": [
                    {"containerPort": 53, "protocol": "TCP"},
                    {"containerPort": 53, "protocol": "UDP"},
                    {"$patch": "replace"},
                ]
            },
        ),
        ({}, {"strategy": {"type": "Recreate"}}, {"strategy": {"type": "Recreate", "$retainKeys": ["type"]}}),
        (
            {"volumes": [{**A, "emptyDir": {}}]},
            {"volumes": [{**A, "secret": {}}]},
            {
                "volumes": [{**A, "emptyDir": None, "secret": {}, "$retainKeys": ["name", "secret"]}],
                "$setElementOrder/volumes": [A],
            },
        ),
        ({}, {"env": ["no maps"]}, {"env": ["no maps"]}),
    ],
)
def test_a_strategic_patch_merges_the_lists_that_servers_merge(
    before: dict[str, Any], document: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert strategic_patch(before, document) == patch


def test_the_note_of_what_was_applied_is_the_document_without_it() -> None:
    document = {"kind": "ConfigMap", "metadata": {"name": "c", "annotations": {"mine": "1"}}, "data": {"ä": "ö"}}
    once = annotated(document)
    assert last_applied(once) == document
    assert last_applied(annotated(once)) == document
    assert json.loads(once["metadata"]["annotations"][LAST_APPLIED]) == document
    assert document["metadata"] == {"name": "c", "annotations": {"mine": "1"}}


@pytest.mark.parametrize("text", ["", "no JSON", "[]"])
def test_a_note_that_says_nothing_is_none(text: str) -> None:
    assert last_applied({"metadata": {"annotations": {LAST_APPLIED: text}}}) == {}
    assert last_applied({}) == {}
