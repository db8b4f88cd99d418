"""The store: newest wins, waiting ends for every reason it may end for."""

from __future__ import annotations

import _thread
import threading

import pytest

from ipytilt.errors import TiltError
from ipytilt.runtime.store import Store
from tests.support import eventually


def test_a_subscription_starts_with_the_current_one_and_skips_to_the_newest() -> None:
    store = Store(0)
    with store.subscribe() as subscription:
        assert subscription.next(0) == 0
        assert subscription.next(0) is None
        store.publish(1)
        store.publish(2)
        assert subscription.next(0) == 2
        assert store.current == 2


def test_equal_snapshots_still_count() -> None:
    store = Store("same")
    with store.subscribe() as subscription:
        assert subscription.next(0) == "same"
        store.publish("same")
        assert subscription.next(0) == "same"


def test_next_is_woken_by_a_publish_from_another_thread() -> None:
    store = Store(0)
    with store.subscribe() as subscription:
        subscription.next(0)
        threading.Timer(0.01, store.publish, (7,)).start()
        assert subscription.next(10) == 7


def test_a_closed_subscription_leaves_no_trace() -> None:
    store = Store(0)
    with store.subscribe():
        assert repr(store) == "<Store version 0, 1 followers>"
    assert repr(store) == "<Store version 0, 0 followers>"


def test_one_event_may_serve_two_sources() -> None:
    store, wake = Store(0), threading.Event()
    with store.subscribe(wake) as subscription:
        subscription.next(0)
        store.publish(1)
        assert wake.is_set()


def test_wait_for_looks_at_what_is_there_first() -> None:
    assert Store(5).wait_for(lambda snapshot: snapshot == 5, timeout=0) == 5


def test_wait_for_returns_the_snapshot_that_satisfied() -> None:
    store = Store(0)

    def publish() -> None:
        for number in range(1, 4):
            store.publish(number)

    threading.Timer(0.01, publish).start()
    assert store.wait_for(lambda snapshot: snapshot >= 3, timeout=10) == 3


def test_wait_for_times_out_even_while_snapshots_keep_coming() -> None:
    store, over = Store(0), threading.Event()

    def publish() -> None:
        while not over.wait(0.001):
            store.publish(0)

    publisher = threading.Thread(target=publish)
    publisher.start()
    with pytest.raises(TimeoutError):
        store.wait_for(bool, timeout=0.05)
    over.set()
    publisher.join()


def test_wait_for_passes_on_what_the_predicate_raises() -> None:
    store = Store(0)
    with pytest.raises(ZeroDivisionError):
        store.wait_for(lambda snapshot: bool(1 // snapshot))
    assert "0 followers" in repr(store)


def test_closing_ends_waits_but_not_before_the_last_snapshot_counted() -> None:
    store = Store(0)
    with store.subscribe() as subscription:
        store.publish(1)
        store.close()
        assert store.wait_for(lambda snapshot: snapshot == 1) == 1
        assert subscription.next(10) == 1
        assert subscription.next(10) is None
        with pytest.raises(TiltError, match="stopped"):
            store.wait_for(lambda snapshot: snapshot == 2)
    assert store.closed


def test_an_interrupt_ends_the_wait_on_the_main_thread() -> None:
    store = Store(0)

    def interrupt() -> None:
        eventually(lambda: "1 followers" in repr(store))
        _thread.interrupt_main()

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    with pytest.raises(KeyboardInterrupt):
        store.wait_for(bool)
    waiting.join()
    assert "0 followers" in repr(store)
