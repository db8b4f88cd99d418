"""Whatever happens in whatever order: one run per resource, slots respected, waits explained, nothing lost."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipytilt.core import events as ev
from ipytilt.core.live import decisions
from ipytilt.core.plan import Update, plan
from ipytilt.core.reduce import reduce
from ipytilt.core.reruns import ALL_DEPS
from ipytilt.core.spec import Compose, Spec
from ipytilt.core.state import State, Track, image_watch, pending_files
from ipytilt.core.steps import BuildImage, CatchUp, Container, SyncFiles
from tests.support.core import MANUAL, ROOT, World, failed, image, local, rules, service, spec

LIVE = rules(("web", "/web"), ("base", "/base"), runs=[("make", ("web/m",))], stop=["web/stop"])
IMAGES = [
    image("base", "base"),
    image("web", "web", live=LIVE, bases=("base",)),
    image("api", "api"),
]
SPECS: list[Spec] = [
    spec(service("web", "base", "web"), service("api", "api"), local("gen", deps=("web",)), images=IMAGES),
    spec(service("web", "base", "web"), service("api2", "api", resource_deps=("web",)), images=IMAGES),
    spec(service("web", "base", "web", trigger_mode=MANUAL), local("gen", deps=("api",), parallel=True), images=IMAGES),
    spec(local("gen", deps=("web",)), local("par", deps=("api",), parallel=True), local("srv", serve=True)),
    spec(service("web", "base", "web"), service("api", "api"), local("gen"), images=IMAGES, enabled=["api"]),
]
FILES = ["web/a", "web/b", "web/m", "web/stop", "base/x", "api/y", "elsewhere"]
OUTCOMES = ["ok", "ok", "ok", "kept", "user error", "rejected", "unavailable", "broke", "bug", "stopped"]


class Loop(RuleBasedStateMachine):
    """The controller against a hostile world."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(SPECS[0])
        self.synced: dict[str, set[str]] = {}

    @rule(files=st.lists(st.sampled_from(FILES), min_size=1, max_size=3))
    def save(self, files: list[str]) -> None:
        self.world.save(*files)

    @rule(index=st.integers(0, len(SPECS) - 1))
    def load(self, index: int) -> None:
        if self.world.state.load.running is None:
            self.world.load(SPECS[index])

    @rule(index=st.integers(0, len(SPECS) - 1), word=st.sampled_from(["one", "two"]))
    def arguments(self, index: int, word: str) -> None:
        if self.world.state.load.running is None:
            self.world.post(ev.ArgsChanged((word,), 0, self.world.now))
            self.world.post(ev.LoadFinished(self.world.loading(), SPECS[index], None, (), self.world.now))

    @rule()
    def load_fails(self) -> None:
        self.world.load(None, "broken")

    @rule(name=st.sampled_from(["web", "api", "api2", "gen", "par", "srv", "unknown"]))
    def trigger(self, name: str) -> None:
        self.world.trigger(name)

    @rule(name=st.sampled_from(["web", "api", "gen", "unknown"]))
    def cancel(self, name: str) -> None:
        self.world.post(ev.CancelRequested(name, self.world.now))

    @rule(name=st.sampled_from(["web", "api", "gen"]), on=st.booleans())
    def switch(self, name: str, on: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
        self.world.post(ev.Enabled((name,), on, self.world.now))

    @rule(deps=st.sampled_from([(), ("web",), ALL_DEPS]))
    def run_again(self, deps: tuple[str, ...]) -> None:
        self.world.post(ev.RerunSet("api2", deps, self.world.now))

    @rule(problem=st.sampled_from(["", "away"]))
    def engine(self, problem: str) -> None:
        self.world.post(ev.EngineChanged("compose", problem, self.world.now))

    @rule(by=st.sampled_from(["", "", "another"]))
    def claim(self, by: str) -> None:
        self.world.post(ev.ClaimChanged("Compose project p", by, self.world.now))

    @rule()
    def take_over(self) -> None:
        self.world.post(ev.TakeOverRequested(self.world.now))

    @rule()
    def down(self) -> None:
        self.world.post(ev.DownRequested(self.world.now))

    @rule(number=st.integers(0, 3), state=st.sampled_from(["running", "created", "exited", "restarting"]))
    def container(self, number: int, state: str) -> None:
        self.world.see("web", *([Container(f"x{number}", "web-1", "web", state)] if number else []))

    @rule(seconds=st.floats(0.1, 60))
    def time(self, seconds: float) -> None:
        self.world.tick(seconds)
        self.world.turn()

    @precondition(lambda self: self.world.started)
    @rule(pick=st.integers(0, 5), outcome=st.sampled_from(OUTCOMES))
    def finish(self, pick: int, outcome: str) -> None:
        runs = list(self.world.started)
        run = runs[pick % len(runs)]
        update = self.world.started[run]
        container = next(iter(update.marks), "")
        made: dict[str, ev.Outcome] = {
            "kept": self._kept(update),
            "user error": ev.Ok(user_error="exit 1"),
            "stopped": ev.Stopped(),
            **{k: failed(k, k, container if k == "broke" else "") for k in ("rejected", "unavailable", "broke", "bug")},
        }
        self.world.finish(update.resource, made.get(outcome))

    def _kept(self, update: Update) -> ev.Ok:
        """It went well, and what it deployed was there before."""
        outcome = self.world.success(update)
        kept = (replace(one, kept=tuple(c.id for c in one.containers)) for one in outcome.applied)
        return replace(outcome, applied=tuple(kept))

    @rule()
    def finish_of_nobody(self) -> None:
        before = self.world.state
        after = reduce(before, ev.UpdateFinished(10**6, ev.Ok(), self.world.now))
        assert replace(after, now=0.0) == replace(before, now=0.0)

    @invariant()
    def one_run_per_resource(self) -> None:
        names = [run.resource for run in self.world.state.runs.values()]
        assert len(names) == len(set(names))

    @invariant()
    def slots_are_respected(self) -> None:
        full = [run for run in self.world.state.runs.values() if run.lane == "full"]
        assert len(full) <= 3

    @invariant()
    def whatever_wants_something_runs_or_says_what_it_waits_for(self) -> None:
        state = self.world.state
        running = {run.resource for run in state.runs.values()}
        for name in state.wanting & set(state.tracks):
            assert name in running or (state.holds[name].reason and state.holds[name].text), name

    @invariant()
    def nobody_who_rests_would_want_something(self) -> None:
        state = self.world.state
        every = plan(_all_wanting(state), self.world.now)
        known = {update.resource for update in every.updates} | set(every.holds)
        assert not known - state.wanting - set(state.leaving) - {r.resource for r in state.runs.values()}

    @invariant()
    def what_is_off_is_down_or_goes_down(self) -> None:
        state = self.world.state
        for name, track in state.tracks.items():
            assert state.enabled(name) or not track.started or (track.off_at and name in state.leaving), name

    @invariant()
    def files_are_only_sent_to_running_containers(self) -> None:
        for update in self.world.started.values():
            for step in (s for branch in update.branches for s in branch):
                assert not isinstance(step, SyncFiles | CatchUp) or step.container.state == "running"

    def teardown(self) -> None:
        """In a world where everything succeeds from now on, it comes to rest and nothing was lost."""
        world = self.world
        world.post(ev.EngineChanged("compose", "", world.now))
        world.post(ev.ClaimChanged("Compose project p", "", world.now))
        for _ in range(50):
            if world.state.load.running is not None:
                world.post(ev.LoadFinished(world.loading(), world.state.spec, None, (), world.now))
            world.settle()
            world.tick(60)
            world.turn()
            if not world.started and world.plan.wake_at is None:
                break
        assert not world.state.runs
        _assert_nothing_lost(world.state)


def _all_wanting(state: State) -> State:
    return replace(state, wanting=frozenset(state.tracks))


def _assert_nothing_lost(state: State) -> None:
    for resource in state.spec.resources:
        track = state.tracks[resource.name]
        on = state.enabled(resource.name) and not state.down
        automatic = resource.trigger_mode != MANUAL
        hold = state.holds.get(resource.name)
        waits = hold is not None and hold.reason == "waiting-for-dep"  # for one that waits for its container, it may be
        if not on or not automatic or not track.started or waits:
            continue
        assert not pending_files(state, resource, track), f"{resource.name} has not consumed all changes"
        last_failed = track.last is not None and track.last.result != "ok"
        if isinstance(resource.target, Compose) and not last_failed and not _blocked(track):
            assert not decisions(state, resource), f"{resource.name}: a container lacks something"
        if not last_failed:
            for ref in resource.images:
                built = state.images[ref]
                live = any(t.container.running for t in track.containers.values())
                newest = max(state.changes.get(image_watch(ref), {}).values(), default=0)
                assert live or newest <= built.seq or not built.seq, f"{ref} was not built with its newest change"


def _blocked(track: Track) -> bool:
    return any(t.blocked or not t.container.running for t in track.containers.values())


Loop.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLoop = Loop.TestCase


def test_a_path_of_the_tiny_world_is_below_its_root() -> None:
    (update,) = World(spec(service("web", "web"), images=[image("web")])).started.values()
    step = update.branches[0][0]
    assert isinstance(step, BuildImage)
    assert step.image.watched == (ROOT,)
