"""Lists kept up to date, and clusters that come and go, on a server that misbehaves when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipytilt.core.spec import KubeContext
from ipytilt.core.steps import Cluster, ObserveCluster
from ipytilt.engines.base import ClusterSeen, EngineSeen, Fact, Stop
from ipytilt.engines.kubernetes.client import Clients
from ipytilt.engines.kubernetes.containers import PodContainers
from ipytilt.engines.kubernetes.observer import KubernetesObserver
from ipytilt.engines.kubernetes.watching import Watch, Watches
from tests.engines.fake_api import EXPIRED, PODS, FakeApi, change, item, kube_config, serving
from tests.support.waiting import eventually


class Watched:
    """A server, and a watch over its pods."""

    def __init__(self, api: FakeApi, context: KubeContext) -> None:
        self.api = api
        self.context = context
        self.clients = Clients()
        self.doubts: list[KubeContext] = []
        self.watches = Watches(self.clients, self.doubts.append)
        self.woken = threading.Event()
        self._stops: list[Stop] = []

    def begin(self) -> Watch:
        watch, release = self.watches.hold(self.context, PODS, self.woken.set)
        self._stops.append(release)
        return watch

    def end(self) -> None:
        while self._stops:
            self._stops.pop()()
        self.clients.close()


@pytest.fixture
def api() -> FakeApi:
    """Give a server's state, with one pod."""
    api = FakeApi()
    api.items = [item("a")]
    return api


@pytest.fixture
def watched(api: FakeApi, tmp_path: Path) -> Iterator[Watched]:
    """Give a server that serves, and what watches it."""
    with serving(api) as port:
        watched = Watched(api, kube_config(tmp_path, port))
        yield watched
        watched.end()


def names(watch: Watch) -> list[str]:
    return sorted(one["metadata"]["name"] for one in watch.objects())


def test_changes_are_taken_in_and_wake_who_reads(watched: Watched) -> None:
    watch = watched.begin()
    eventually(lambda: names(watch) == ["a"])
    watched.woken.clear()
    watched.api.events.append(change("ADDED", "b", 2))
    eventually(lambda: names(watch) == ["a", "b"])
    assert watched.woken.wait(10)
    watched.api.events.append(change("MODIFIED", "b", 3))
    watched.api.events.append(change("DELETED", "a", 4))
    eventually(lambda: names(watch) == ["b"])
    assert watch.objects()[0]["metadata"]["resourceVersion"] == "3"


def test_one_watch_serves_all_and_ends_with_the_last(watched: Watched) -> None:
    one, release = watched.watches.hold(watched.context, PODS, lambda: None)
    other = watched.begin()
    assert one is other
    eventually(lambda: other.listed)
    release()
    watched.api.events.append(change("ADDED", "b", 2))
    eventually(lambda: names(other) == ["a", "b"])
    assert watched.api.lists() == 1
    watched.end()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ipytilt-watch")]


def test_a_watch_that_ends_goes_on_where_it_was(watched: Watched) -> None:
    watch = watched.begin()
    watched.api.events.extend((change("ADDED", "b", 5), change("BOOKMARK", "", 9), None, change("ADDED", "c", 10)))
    eventually(lambda: names(watch) == ["a", "b", "c"])
    assert watched.api.lists() == 1
    assert watched.api.watched_from() == ["1", "9"]


@pytest.mark.parametrize("answers", [(EXPIRED,), (None, 410)], ids=["in the stream", "as the answer"])
def test_after_an_expired_version_everything_is_listed_anew(
    watched: Watched, answers: tuple[dict[str, Any] | int | None, ...]
) -> None:
    watch = watched.begin()
    eventually(lambda: names(watch) == ["a"])
    watched.api.items, watched.api.version = [item("b", 20)], 30
    watched.api.events.extend(answers)
    eventually(lambda: names(watch) == ["b"])
    watched.api.events.append(change("ADDED", "c", 31))
    eventually(lambda: names(watch) == ["b", "c"])
    assert watched.api.lists() == 2
    assert watched.api.watched_from()[-1] == "30"
    assert not watched.doubts


def test_what_is_refused_is_said_and_tried_again(watched: Watched) -> None:
    watched.api.refuses = 403
    watch = watched.begin()
    eventually(lambda: watch.problem == "you may not")
    assert watched.doubts
    watched.api.refuses = 0
    eventually(lambda: watch.listed and not watch.problem)


def test_a_server_that_goes_is_doubted_and_found_again(api: FakeApi, tmp_path: Path) -> None:
    with serving(api) as port:
        watched = Watched(api, kube_config(tmp_path, port))
        watch = watched.begin()
        eventually(lambda: watch.listed)
    eventually(lambda: watched.doubts)
    api.items = [item("after")]
    with serving(api, port):
        eventually(lambda: names(watch) == ["after"])
        watched.end()


def test_a_watch_is_cut_and_comes_back(watched: Watched) -> None:
    watch = watched.begin()
    eventually(watched.api.watched_from)
    watched.api.items = [item("b")]
    watched.watches.renew(watched.context)
    eventually(lambda: names(watch) == ["b"])


def test_many_streams_at_once_leave_no_word_in_anybody_s_output(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [f"{PODS}/{number}" for number in range(40)]
    releases = [watched.watches.hold(watched.context, path, lambda: None)[1] for path in paths]
    eventually(lambda: len(watched.api.watched_from()) == len(paths), timeout=30)
    watched.api.events.extend([None] * len(paths))
    eventually(lambda: len(watched.api.watched_from()) == 2 * len(paths), timeout=30)
    for release in releases:
        release()
    assert caplog.messages == []


# ---------------------------------------------------------------------------------------------- a cluster's health


class Observed:
    """What is said about the cluster of a context."""

    def __init__(self, context: KubeContext) -> None:
        self.facts: list[Fact] = []
        self.clients = Clients()
        observer = KubernetesObserver(self.clients, PodContainers(self.clients).sessions)
        self._stop = observer.start(ObserveCluster(context), self.facts.append, lambda _text, _level: None)

    def problems(self) -> list[str]:
        return [fact.problem for fact in self.facts if isinstance(fact, EngineSeen)]

    def close(self) -> None:
        self._stop()
        self.clients.close()


def test_the_first_answer_says_what_cluster_it_is(api: FakeApi, tmp_path: Path) -> None:
    with serving(api) as port:
        context = kube_config(tmp_path, port)
        observed = Observed(context)
        expected = [ClusterSeen(Cluster(context, version="v1.0.0")), EngineSeen("kubernetes")]
        eventually(lambda: observed.facts == expected)
        observed.close()


def test_a_cluster_that_is_away_comes_back_without_a_restart(api: FakeApi, tmp_path: Path) -> None:
    with serving(api) as port:
        observed = Observed(kube_config(tmp_path, port))
        eventually(lambda: observed.problems() == [""])
    eventually(lambda: len(observed.problems()) == 2, timeout=30)
    assert "the cluster does not answer: Connection refused" in observed.problems()[-1]
    with serving(api, port):
        eventually(lambda: observed.problems()[-1] == "", timeout=30)
        observed.close()


def test_credentials_that_expire_are_read_anew_from_the_kube_config(api: FakeApi, tmp_path: Path) -> None:
    api.token = "old"
    with serving(api) as port:
        observed = Observed(kube_config(tmp_path, port, token="old"))
        eventually(lambda: observed.problems() == [""])
        api.token = "new"
        eventually(lambda: "does not accept the credentials" in observed.problems()[-1], timeout=30)
        kube_config(tmp_path, port, token="new")
        eventually(lambda: observed.problems()[-1] == "", timeout=30)
        observed.close()


def test_a_context_that_is_not_in_the_kube_config_is_named(api: FakeApi, tmp_path: Path) -> None:
    with serving(api) as port:
        found = kube_config(tmp_path, port)
        missing = KubeContext("nowhere", "shop", found.config)
        observed = Observed(missing)
        problem = eventually(observed.problems)[-1]
        assert "nowhere" in problem
        assert "kube config" in problem
        path = Path(found.config)
        path.write_text(path.read_text().replace('"fake"', '"nowhere"'))
        eventually(lambda: observed.problems()[-1] == "", timeout=30)
        observed.close()
