"""Modules, threads, positions, stacks and limits: what a host relies on."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from ipytilt.starlark import (
    UNIVERSE,
    Builtin,
    Cancelled,
    EvalError,
    Module,
    Position,
    StarlarkSyntaxError,
    Thread,
    check,
    parameters,
    universe_docs,
)
from tests.starlark.running import PREDECLARED, run, value_of


def _fails(text: str, **options: Any) -> EvalError:
    with pytest.raises(EvalError) as caught:
        run(text, **options)
    return caught.value


def test_programs_share_a_namespace() -> None:
    module, thread = Module("notebook", PREDECLARED), Thread()
    cells = [
        "x = 1\ndef f(): return x + y",
        "y = 2",
        "z = f()\nx = 10",
        "z2 = f()",
        "len = lambda v: 0",
        "n = len([1])",
    ]
    for number, cell in enumerate(cells):
        program = check(cell, f"cell{number}", globals={*module.globals, "y"}, predeclared=PREDECLARED.keys())
        module.execute(program, thread)
    assert (module.globals["z"], module.globals["z2"], module.globals["n"]) == (3, 12, 0)


def test_an_error_names_the_program_a_function_came_from() -> None:
    module, thread = Module("notebook", {}), Thread()
    module.execute(check("def f(x):\n  return x.foo", "one", predeclared=()), thread)
    with pytest.raises(EvalError) as caught:
        module.execute(check("\n\nf(1)", "two", globals=module.globals, predeclared=()), thread)
    assert [str(frame) for frame in caught.value.stack] == ["two:3:2: in <toplevel>", "one:2:11: in f"]


def test_what_was_assigned_before_an_error_stays() -> None:
    module = Module("m", {})
    with pytest.raises(EvalError):
        module.execute(check("a = 1\nb = a // 0\nc = 2", "m", predeclared=()), Thread())
    assert module.globals == {"a": 1}


def test_exports_leave_out_loaded_names() -> None:
    def load(path: str, thread: Thread) -> Module:
        library = Module(path, {})
        library.execute(check("a = 1\nb = [2]\n_c = 3", path, predeclared=()), thread)
        library.freeze()
        return library

    module = run("load('lib', 'a', mine='b')\nown = a\n_p = 5", thread=Thread(load=load))
    assert module.globals == {"a": 1, "mine": [2], "own": 1, "_p": 5}
    assert module.exports == {"own": 1, "_p": 5}
    assert module.loaded == {"a", "mine"}
    module.execute(check("a = 7", "later", globals=module.globals, predeclared=()), Thread())
    assert module.exports["a"] == 7


def test_a_program_lists_its_loads() -> None:
    program = check("load('x', 'a')\nload('ext://y',  'b', c='d')", "f", predeclared=())
    assert [(load.module, load.names, str(load.position)) for load in program.loads] == [
        ("x", (("a", "a"),), "f:1:1"),
        ("ext://y", (("b", "b"), ("c", "d")), "f:2:1"),
    ]


def test_load_is_refused_without_a_loader() -> None:
    assert "load not implemented" in _fails("load('x', 'a')").message


def test_errors_cross_loads_with_every_frame() -> None:
    def load(path: str, thread: Thread) -> Module:
        library = Module(path, PREDECLARED)
        library.execute(check("def f(): return fail('no')\nf()", path, predeclared=PREDECLARED), thread)
        return library

    def include(thread: Thread, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        load(args[0], thread)

    error = _fails("load('lib', 'x')", thread=Thread(load=load))
    assert error.backtrace() == (
        "Traceback (most recent call last):\n"
        "  Tiltfile:1:1: in <toplevel>\n"
        "  lib:2:2: in <toplevel>\n"
        "  lib:1:21: in f\n"
        "Error in fail: no"
    )
    error = _fails("\n include('lib')".replace(" ", ""), predeclared={"include": Builtin("include", include)})
    assert [str(frame) for frame in error.stack] == [
        "Tiltfile:2:8: in <toplevel>",
        "<builtin>: in include",
        "lib:2:2: in <toplevel>",
        "lib:1:21: in f",
        "<builtin>: in fail",
    ]


@pytest.mark.parametrize(
    "text, frames, message",
    [
        ("len(1)", ["1:4: in <toplevel>", "len"], "len: value of type int has no len"),
        ("x = [\n  1 +\n  'a']", ["2:5: in <toplevel>"], "unknown binary op: int + string"),
        ("x = {}['k']", ["1:7: in <toplevel>"], 'key "k" not in dict'),
        ("x = 'a'.foo", ["1:8: in <toplevel>"], "string has no .foo field or method"),
        ("x = [].pop()", ["1:11: in <toplevel>", "pop"], "pop: index -1 out of range: empty list"),
        ("x = [v // 0 for v in [1]]", ["1:8: in <toplevel>"], "floored division by zero"),
        ("def f(): return 1 // 0\nx = [f() for _ in [1]]", ["2:7: in <toplevel>", "1:19: in f"], "division by zero"),
        ("f = lambda x: x()\nf(f)", ["2:2: in <toplevel>", "1:16: in lambda"], "missing 1 argument"),
        ("s = sorted([1], key=lambda x: x.y)", ["1:11: in <toplevel>", "sorted", "1:32: in lambda"], "no .y field"),
        ("é = 'é' + 'é' + 1", ["1:15: in <toplevel>"], "unknown binary op"),
        ("if True:\n\tx = 'é' + 1", ["2:10: in <toplevel>"], "unknown binary op"),
        ("def f(a): pass\nf (\n  )", ["2:3: in <toplevel>"], "function f missing 1 argument (a)"),
        ("(len)(1)", ["1:6: in <toplevel>", "len"], "has no len"),
        ("x = 1\nx[0] = 2", ["2:2: in <toplevel>"], "does not support item assignment"),
        ("x = 1\nx += 'a'", ["2:3: in <toplevel>"], "unknown binary op: int + string"),
        ("for a, b in [1]: pass", ["1:1: in <toplevel>"], "got int in sequence assignment"),
        ("x = -'a'", ["1:5: in <toplevel>"], "unknown unary op: - string"),
        ("x = 1 if 1 < 'a' else 2", ["1:12: in <toplevel>"], "int < string not implemented"),
        ("x = 'a' not in 5", ["1:9: in <toplevel>"], "unknown binary op: string in int"),
        ("x = [1, 2](3)", ["1:11: in <toplevel>"], "invalid call of non-function (list)"),
        ("x = 'a'.join(\n  *[1])", ["1:13: in <toplevel>", "join"], "join: for parameter 1: got int, want iterable"),
    ],
)
def test_where_errors_are(text: str, frames: list[str], message: str) -> None:
    error = _fails(text)
    shown = [str(frame).removeprefix("Tiltfile:").removeprefix("<builtin>: in ") for frame in error.stack]
    assert shown == frames
    assert message in error.message


def test_where_syntax_errors_are() -> None:
    for text, line, col in [
        ("x = (1 +", 1, 5),
        ("if True:\n\t\tx = é?", 2, 8),
        ("def f():\n\treturn undefined_name", 2, 9),
        ("x = b'é' + zz", 1, 12),
        ("'é' + zz", 1, 7),
        ("x = 1\n\ty = 2", 2, 1),
    ]:
        with pytest.raises(StarlarkSyntaxError) as caught:
            check(text, "f", predeclared=())
        assert (caught.value.position.line, caught.value.position.col) == (line, col), text
        assert str(caught.value).startswith(f"f:{line}:{col}: ")


def test_builtins_know_where_they_are_called() -> None:
    seen: list[Position | None] = []

    def note(thread: Thread, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        seen.append(thread.position())

    run(
        "def f(): note()\nf()\n[note () for _ in [1]]\nlib.note(\n1)\nnote(*[])\nsorted([1], key=note)",
        predeclared=PREDECLARED
        | {"note": Builtin("note", note), "lib": value_of("struct(note=n)", n=Builtin("n", note))},
    )
    assert [place and (place.line, place.col) for place in seen] == [(1, 14), (3, 7), (4, 9), (6, 5), (7, 7)]


def test_the_stack_is_there_while_running() -> None:
    module = run("def f(): return [stack() for _ in [1]][0]\ns = f()\nt = (lambda: stack())()")
    assert module.globals["s"] == ["Tiltfile:2:6: in <toplevel>", "Tiltfile:1:23: in f", "<builtin>: in stack"]
    assert module.globals["t"] == [
        "Tiltfile:3:22: in <toplevel>",
        "Tiltfile:3:19: in lambda",
        "<builtin>: in stack",
    ]
    assert Thread().stack() == ()
    assert Thread().position() is None


def test_print_goes_to_the_host() -> None:
    lines: list[str] = []
    run('print("a", [1, "b"], None, sep="-")\nprint()\nprint({"k": 1.0}, b"raw")', thread=Thread(print=lines.append))
    assert lines == ['a-[1, "b"]-None', "", '{"k": 1.0} raw']


@pytest.mark.parametrize(
    "call, message",
    [("print(1, end='')", 'unexpected keyword argument "end"'), ("print(1, sep=2)", "sep: got int, want string")],
)
def test_what_print_refuses(call: str, message: str) -> None:
    with pytest.raises(EvalError, match=message):
        run(call, thread=Thread())


def test_functions_are_called_by_the_host() -> None:
    thread = Thread()
    module = run("def f(a, b=[2], *, c, **d): return (a, b, c, d)\ng = lambda: 1\nh = len", thread=thread)
    function = module.globals["f"]
    assert thread.call(function, [1], {"c": 3, "z": 4}) == (1, [2], 3, {"z": 4})
    assert str(parameters(function)) == "(a, b=[2], *, c, **d)"
    assert parameters(module.globals["h"]) is None
    assert thread.call(module.globals["h"], ["abc"]) == 3
    with pytest.raises(EvalError, match=r"^function f missing 1 argument \(c\)$"):
        thread.call(function, [1])
    with pytest.raises(EvalError, match="invalid call of non-function"):
        thread.call(3)
    with pytest.raises(EvalError) as caught:
        thread.call(module.globals["g"], [1])
    assert caught.value.message == "function lambda accepts no arguments (1 given)"


def test_a_frozen_module_cannot_be_changed_through_its_functions() -> None:
    module = run("l = [1]\ndef push(): l.append(2)\ndef keep(x=[]): x.append(1)\nd = {'f': lambda: l}")
    module.freeze()
    for name in ("push", "keep"):
        with pytest.raises(EvalError, match="cannot append to frozen list"):
            Thread().call(module.globals[name])
    with pytest.raises(EvalError, match="frozen hash table"):
        run("d['x'] = 1", predeclared={"d": module.globals["d"]})


class _Signal(Exception):
    pass


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, _Signal, ValueError])
def test_other_exceptions_of_the_host_pass_through(raised: type[BaseException]) -> None:
    def leave(_thread: Thread, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        raise raised("out")

    items: list[Any] = value_of("[1]")
    limit = sys.getrecursionlimit()
    with pytest.raises(raised, match="out"):
        run("for x in items: leave()", predeclared={"leave": Builtin("leave", leave), "items": items})
    assert sys.getrecursionlimit() == limit
    run("items.append(1)", predeclared={"items": items})


def test_a_bug_in_a_builtin_is_not_taken_for_the_users() -> None:
    def broken(_thread: Thread, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Any:
        return None + 1  # type: ignore[operator]

    with pytest.raises(TypeError):
        run("broken()", predeclared={"broken": Builtin("broken", broken)})


def test_plain_results_of_builtins_become_values() -> None:
    data = Builtin("data", lambda *_: {"a": [1, {"b": 2}], "s": {3}})
    module = run(
        "d = data()\nd['a'][1]['c'] = 4\nt = [type(d), type(d['a']), type(d['s'])]", predeclared={"data": data}
    )
    assert module.globals["t"] == ["dict", "list", "set"]


@pytest.mark.parametrize(
    "text",
    [
        "while True: pass",
        "for i in range(1 << 60): pass",
        "x = [0 for i in range(1 << 60)]",
        "def f(n): return f(n - 1) + f(n - 1) if n else 0\nf(60)",
        "f = lambda n: f(n - 1) + f(n - 1) if n else 0\nf(60)",
        "def f():\n  while True:\n    for x in [1]: pass\nf()",
        "def leaf(): pass\nwhile True: leaf()",
        "x = any([x for _ in [1] for x in range(1 << 60) if x < 0])",
    ],
)
def test_endless_programs_run_out_of_steps(text: str) -> None:
    error = _fails(text, thread=Thread(max_steps=100_000))
    assert error.message == "too many steps: evaluation was stopped after 100000"
    assert error.position is not None


def test_steps_are_counted_per_thread() -> None:
    thread = Thread(max_steps=100_000)
    run("for i in range(50000): pass", thread=thread)
    assert 49_000 <= thread.steps <= 51_000
    with pytest.raises(EvalError, match="too many steps"):
        run("for i in range(60000): pass", thread=thread)


@pytest.mark.parametrize(
    "text", ["while True: pass", "for i in range(1 << 60): x = i", "x = [i for i in range(1 << 60) if i < 0]"]
)
def test_evaluation_is_cancelled_from_another_thread(text: str) -> None:
    cancelled, started = threading.Event(), threading.Event()

    def asked() -> bool:
        started.set()
        return cancelled.is_set()

    errors: list[BaseException] = []

    def evaluate() -> None:
        try:
            run(text, thread=Thread(cancelled=asked, max_steps=1 << 60))
        except EvalError as error:
            errors.append(error)

    worker = threading.Thread(target=evaluate, daemon=True, name="evaluating")
    worker.start()
    assert started.wait(30)
    cancelled.set()
    worker.join(30)
    assert not worker.is_alive()
    assert [type(error) for error in errors] == [Cancelled]


def test_two_threads_evaluate_at_once() -> None:
    results: dict[int, Any] = {}

    def evaluate(number: int) -> None:
        module = run(
            "def f(n): return n if n < 2 else f(n - 1) + f(n - 2)\nx = [f(12) + n for _ in range(5)]".replace(
                "+ n", f"+ {number}"
            )
        )
        results[number] = module.globals["x"]

    workers = [threading.Thread(target=evaluate, args=(number,), daemon=True) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert results == {number: [144 + number] * 5 for number in range(3)}


_DEEP = {
    "plain": ("def f(n): return 0 if n == 0 else 1 + f(n - 1)", 4_900),
    "lambda": ("f = lambda n: 0 if n == 0 else 1 + f(n - 1)", 4_900),
    "loop": ("def f(n):\n  if n == 0: return 0\n  for x in [n - 1]: return f(x)", 4_900),
    "comprehension": ("def f(n): return 0 if n == 0 else [f(x) for x in [n - 1]][0]", 2_000),
    "arguments": ("def f(n): return 0 if n == 0 else f(*[n - 1])", 1_500),
    "key": ("def f(n): return 0 if n == 0 else max([n - 1], key=f)", 1_000),
}


@pytest.mark.parametrize("way", _DEEP)
def test_recursion_is_deep_and_bounded(way: str) -> None:
    text, depth = _DEEP[way]
    limit = sys.getrecursionlimit()
    run(f"{text}\nf({depth})")
    error = _fails(f"{text}\nf(1 << 60)")
    assert error.message.startswith("stack overflow: calls are nested too deeply")
    assert len(error.backtrace().splitlines()) < 60
    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize(
    "text",
    [
        "x = []\nfor _ in range(100000): x = [x]\ns = str(x)",
        "x = ()\nfor _ in range(100000): x = (x,)\nd = {x: 1}",
        "x = {}\nfor _ in range(100000): x = {1: x}\ny = {}\nfor _ in range(100000): y = {1: y}\nb = x == y",
    ],
)
def test_deep_data_is_an_error_not_a_crash(text: str) -> None:
    assert "stack overflow" in _fails(text).message


def test_deep_data_can_be_frozen() -> None:
    run("x = []\nfor _ in range(100000): x = [x, {1: (x,)}]").freeze()


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 300 + "1" + ")" * 300,
        "x = " + " + ".join(["1"] * 20_000),
        "x = " + "-" * 100_000 + "1",
        "x = " + "a." * 20_000 + "b",
        "x = " + "9" * 10_000,
        "x = 0x" + "f" * 10_000,
        "x = 1e999",
        "\n".join(" " * depth + "for x in []:" for depth in range(30)) + "\n" + " " * 40 + "pass",
        "x = 1\0",
        "x = '\ud800'",
    ],
    ids=range(10),
)
def test_odd_texts_are_syntax_errors(text: str) -> None:
    with pytest.raises(StarlarkSyntaxError):
        check(text, "f", predeclared={"a"})


def test_long_sums_are_accepted() -> None:
    assert value_of(" + ".join(["'a'"] * 900)) == "a" * 900


def test_the_universe_is_documented() -> None:
    docs = universe_docs()
    functions = {name for name, value in UNIVERSE.items() if isinstance(value, Builtin)}
    assert set(docs) == functions >= {"abs", "any", "bytes", "fail", "getattr", "print", "set", "zip"}
    assert not {"sum", "map", "open", "round", "isinstance", "json"} & UNIVERSE.keys()
    assert all(text.startswith(f"{name}(") and text.endswith(".") for name, text in docs.items())
    assert docs["sorted"].startswith("sorted(iterable, key=None, reverse=None) - A new list")
    assert docs["getattr"].startswith("getattr(x, name, default=...) - ")


@pytest.mark.parametrize(
    "text, message",
    [
        ("y = abs\nabs = 5\nz = y + 1", "builtin_function_or_method + int"),
        ("def f(n):\n  m = n\n  n = 1\n  return m + 1\nf('a')", "string + int"),
        ("def f():\n  def g(): return v + 1\n  v = 'a'\n  return g()\nf()", "string + int"),
        ("x = [i + 1 for i in range(3) for i in ['a']]", "string + int"),
        ("for i in range(2): pass\nfor i in ['a']: pass\nx = i + 1", "string + int"),
        ("x = 4 / 2\ny = x * 'a'", "float * string"),
        ("x = 5\ny = x % True", "int % bool"),
        ("x = 1\ny = x + True", "int + bool"),
        ("f = lambda a, b: f(b, a) if a else a - True\nf(1, 0)", "int - bool"),
        ("x = 1\ny = x < True", "int < bool not implemented"),
        ("x = 1\ny = x in 5", "int in int"),
        ("x = 1\ny = x not in 5", "int in int"),
        ("x = 1\ny = x // (x - x)", "floored division by zero"),
        ("x = 1\ny = x % 0", "integer modulo by zero"),
        ("x = 2\nfor _ in range(99): x = x * x", "integer too large"),
        ("a, b = 1, 1\nfor _ in range(1 << 16): a, b = b, a + b", "integer too large"),
        ("def f(a, b): return f(b, a + b)\nf(1, 1)", "stack overflow"),
    ],
)
def test_what_is_taken_for_an_int_is_one(text: str, message: str) -> None:
    assert message in _fails(text).message


def test_a_later_program_may_change_what_a_global_is() -> None:
    module, thread = Module("notebook", {}), Thread()
    for number, cell in enumerate(
        ["x = 1\ndef f(): return x + x", "a = f()\nx = 'b'", "b = f()\ny = x\nx = 2\nz = y + y"]
    ):
        module.execute(check(cell, f"cell{number}", globals=module.globals, predeclared=()), thread)
    assert [module.globals[name] for name in "abz"] == [2, "bb", "bb"]


def test_bools_are_no_ints() -> None:
    module = run(
        "x = 1\nt = True\ndef same(a, b): return [a == b, a != b]\ny = [x == t, x != t, same(x, t), same(x, 1)]"
    )
    assert module.globals["y"] == [False, True, [False, True], [True, False]]
