"""Making a program worse: on its bytes, its tokens and its lines; the same random numbers give the same program."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.fuzz.seeds import functions, kind, methods, names, seeds, tokens, vocabulary

_EXPRESSIONS = 0.3  # of all programs are one expression, as a program ends at its first error
MAX_LENGTH = 200_000  # characters; longer texts say nothing that shorter ones do not

_NUMBERS = (
    *("0", "-1", "1", "255", "65536", "2147483648", "-9223372036854775809", "18446744073709551616"),
    *("(1 << 500)", "0x7fffffff", "1e308", "-1e-320", "1e400", "0.1", "float('nan')", "float('-inf')", "9" * 400),
    *("9" * 5_000, "(2 << 300) * (3 << 400)", "True"),
)
_STRINGS = (
    *("''", "'/'", "'.'", "'..'", "'a\\x00b'", "'\\n'", "'%s%d%(x)r'", "'{}{0}{a}'", "'é😀'", "'\\u202e'", "'*' * 99"),
    *(
        "'a/' * 5000",
        "'x' * 1000000",
        "'[' * 3000",
        "'{a: ' * 3000",
        "'---\\n' * 500",
        "'&a [*a]'",
        "'!!x'",
        "'(a+)+$'",
    ),
    *("'${X:-${Y}}'", "'1.2.3.4:99999'", "'http://[::1'", "'-'", "' '", "'#'", "'a:b:c@sha256:0'", "'**/**/**/*' * 40"),
)
_VALUES = (
    *(
        "None",
        "True",
        "[]",
        "()",
        "{}",
        "set()",
        "[[]]",
        "[None]",
        "{'a': None}",
        "{1: 2}",
        "[1, 'a', b'c']",
        "b'\\xff'",
    ),
    *("(lambda: 1)", "(lambda x: x)", "len", "os", "os.environ", "config", "struct(a=1)", "blob('')", "blob('a: b')"),
    *("range(10)", "range(1 << 40)", "[0] * 1000", "sync('.', '/a')", "run('x')", "local_git_repo('.')", "__file__"),
    *(
        "probe()",
        "port_forward(1)",
        "link('http://x')",
        "TRIGGER_MODE_MANUAL",
        "fail",
        "print",
        "v1alpha1",
        "read_file('src')",
    ),
)
_OPERATORS = (*"+ - * / // % | & ^ << >> == != < <= > >= and or in".split(), "not in")
_LETTERS = "\u200b\ufeff\u202eé😀\x00\x0c\x0b\x1f\x7f\u2028\u0301ſª\udc80\udcff\r\t\\'\"#`$?!"
_WRAPS = (
    *(
        ("(", ")"),
        ("[", "]"),
        ("{'a': ", "}"),
        ("[x for x in ", "]"),
        ("str(", ")"),
        ("-", ""),
        ("not ", ""),
        ("~", ""),
    ),
    *(("(lambda: ", ")()"), ("[[", "]]"), ("struct(a=", ")"), ("", "[0]"), ("", ".a"), ("", "()"), ("", " + 1")),
    *(("", " or 1"), ("", " if 1 else 2"), ("{1: ", "}[1]"), ("f(", ")"), ("[", "] * 9"), ("decode_json(", ")")),
)
_BLOCKS = (
    *("for i in range(3):", "for i in range(10000):", "while True:", "while len(str(1)) < 9:", "if True:", "def f():"),
    *("def f(*args, **kwargs):", "for a, b in [(1, 2)]:", "else:", "if not []:"),
)
_LINES = (
    *(
        "x = [x]",
        "x = x + x",
        "x = x * 2",
        "x += x",
        "f()",
        "def f(): return f()",
        "l.append(l)",
        "exit()",
        "fail('x')",
    ),
    *(
        "x = '%s' % x",
        "x = {1: x}",
        "load('lib', 'value')",
        "include('lib/lib.star')",
        "load_dynamic('lib')",
        "print(dir())",
    ),
    *(
        "os.environ['A'] = 'b'",
        "f = lambda *a: f(*a)",
        "x = sorted(x, key=f)",
        "x = [x for x in x]",
        "x = encode_yaml(x)",
    ),
)


def program(seed: str) -> str:
    """A mutated program; equal seeds give equal programs."""
    random = Random(seed)
    if random.random() < _EXPRESSIONS:
        return f"x = {_expression(random, random.choice((1, 1, 2, 3)))}\nprint(x, [x])\n"
    text = random.choice(seeds())
    mutations = random.choice((_FINE, _FINE, _FINE, (*_FINE, *_ROUGH), _ROUGH))
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4, 6, 10))):
        changed = random.choice(mutations)(random, text)
        if len(changed) <= MAX_LENGTH:
            text = changed
    return text


def _on_tokens(change: Callable[[Random, list[str], int], None]) -> Callable[[Random, str], str]:
    """A mutation of the list of tokens, at a place that is no blank."""

    def mutate(random: Random, text: str) -> str:
        pieces = tokens(text)
        places = [place for place, piece in enumerate(pieces) if kind(piece) not in ("blank", "comment")]
        if places:
            change(random, pieces, random.choice(places))
        return "".join(pieces)

    return mutate


def _like(random: Random, token: str, near: list[str]) -> str:
    """Another token of the same kind; names are mostly those of the program or of Tilt's API."""
    sort = kind(token)
    if sort == "name" and random.random() < 0.9:
        return random.choice((*names(), *(piece for piece in near if kind(piece) == "name")))
    if sort == "number":
        return random.choice(_NUMBERS)
    if sort == "string" and random.random() < 0.5:
        return random.choice(_STRINGS)
    return random.choice(vocabulary()[sort])


@_on_tokens
def _replace_alike(random: Random, pieces: list[str], at: int) -> None:
    pieces[at] = _like(random, pieces[at], pieces)


@_on_tokens
def _replace(random: Random, pieces: list[str], at: int) -> None:
    pieces[at] = random.choice(vocabulary()[random.choice(list(vocabulary()))])


@_on_tokens
def _value(random: Random, pieces: list[str], at: int) -> None:
    values = [place for place, piece in enumerate(pieces) if kind(piece) in ("string", "number")]
    pieces[random.choice(values) if values else at] = random.choice(_VALUES)


@_on_tokens
def _delete(random: Random, pieces: list[str], at: int) -> None:
    del pieces[at : at + random.choice((1, 1, 2, 3, 8))]


@_on_tokens
def _duplicate(random: Random, pieces: list[str], at: int) -> None:
    run = pieces[at : at + random.choice((1, 2, 4, 10, 30))]
    pieces[at:at] = run * random.choice((1, 1, 2, 50, 400))


@_on_tokens
def _swap(random: Random, pieces: list[str], at: int) -> None:
    other = random.randrange(len(pieces))
    pieces[at], pieces[other] = pieces[other], pieces[at]


@_on_tokens
def _insert(random: Random, pieces: list[str], at: int) -> None:
    pieces.insert(at, random.choice(vocabulary()[random.choice(list(vocabulary()))]))


@_on_tokens
def _nest(random: Random, pieces: list[str], at: int) -> None:
    before, after = random.choice(_WRAPS)
    depth = random.choice((1, 2, 20, 90, 150, 250, 1_000, 3_000, 20_000))
    end = at + random.choice((1, 1, 3))
    pieces[at:end] = [before * depth, *pieces[at:end], after * depth]


@_on_tokens
def _wrap(random: Random, pieces: list[str], at: int) -> None:
    """Nest a name or literal, a little: the program stays well-formed."""
    values = [place for place, piece in enumerate(pieces) if kind(piece) in ("string", "number", "name")]
    at = random.choice(values) if values else at
    before, after = random.choice(_WRAPS)
    depth = random.choice((1, 1, 1, 2, 5, 60))
    pieces[at] = before * depth + pieces[at] + after * depth


@_on_tokens
def _argument(random: Random, pieces: list[str], at: int) -> None:
    """One more argument of some call: the first by position, or the last by name."""
    value = random.choice((*_VALUES, *_STRINGS, *_NUMBERS))
    opening, closing = ([place for place, piece in enumerate(pieces) if piece == sign] for sign in "()")
    if random.random() < 0.3 and opening:
        at = random.choice(opening)
        pieces.insert(at + 1, value if pieces[at + 1 : at + 2] == [")"] else f"{value}, ")
    elif closing:
        at = random.choice(closing)
        name = random.choice(
            ("*", "**", "name=", "key=", *(f"{random.choice(vocabulary()['name'])}=" for _ in range(6)))
        )
        pieces.insert(at, f"{'' if pieces[at - 1] == '(' else ', '}{name}{value}")


@_on_tokens
def _compute(random: Random, pieces: list[str], at: int) -> None:
    """A literal becomes an expression of the same odd things that may stand anywhere."""
    values = [place for place, piece in enumerate(pieces) if kind(piece) in ("string", "number")]
    pieces[random.choice(values) if values else at] = _expression(random, random.randint(1, 3))


def _expression(random: Random, depth: int) -> str:
    """Operators, calls, methods, slices and displays, nested so deep."""
    if not depth:
        return random.choice((*_VALUES, *_STRINGS, *_NUMBERS))
    inner = [_expression(random, random.randrange(depth)) for _ in range(3)]
    arguments = ", ".join(inner[: random.choice((0, 1, 1, 2, 3))])
    match random.randrange(6):
        case 0 | 1:
            return f"({inner[0]} {random.choice(_OPERATORS)} {inner[1]})"
        case 2:
            return f"{random.choice(functions())}({arguments})"
        case 3:
            return f"{inner[0]}.{random.choice(methods())}({arguments})"
        case 4:
            return f"{inner[0]}[{random.choice(('', ':', '::')).join(inner[: random.choice((1, 2, 3))])}]"
        case _:
            return random.choice(("[{} for x in {}]", "{{{}: {}}}", "({}, {})", "[{}, {}]", "{} % ({},)")).format(
                *inner
            )


def _splice(random: Random, text: str) -> str:
    """The head of one program and the tail of another."""
    lines, others = text.split("\n"), random.choice(seeds()).split("\n")
    return "\n".join([*lines[: random.randint(0, len(lines))], *others[random.randint(0, len(others)) :]])


def _lines(random: Random, text: str) -> str:
    """A line repeated, moved, dropped, indented, or all from there on put below a statement."""
    lines = text.split("\n")
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            lines[at:at] = [lines[other]] * random.choice((1, 2, 100))
        case 1:
            lines.insert(other, lines.pop(at))
        case 2:
            del lines[at]
        case 3:
            lines[at] = random.choice((" ", "    ", "\t", " \t")) + lines[at]
        case _:
            lines[at:] = [random.choice(_BLOCKS), *(f"  {line}" for line in lines[at:])]
    return "\n".join(lines)


def _letters(random: Random, text: str) -> str:
    at = random.randint(0, len(text))
    return text[:at] + random.choice(_LETTERS) * random.choice((1, 1, 3, 2_000)) + text[at + random.choice((0, 1)) :]


def _bytes(random: Random, text: str) -> str:
    """Bytes changed, inserted, removed or repeated; what is no UTF-8 is read as surrogates, as from a file."""
    data = bytearray(text.encode("utf-8", "surrogateescape"))
    for _ in range(random.choice((1, 1, 4, 16))):
        at = random.randint(0, len(data))
        match random.randrange(4):
            case 0:
                data[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                data[at:at] = random.randbytes(random.choice((1, 2, 8)))
            case 2:
                del data[at : at + random.choice((1, 2, 20))]
            case _:
                data[at:at] = data[at : at + random.choice((1, 10, 100))]
    return data.decode("utf-8", "surrogateescape")


def _growth(random: Random, text: str) -> str:
    """A line that makes values grow, functions call themselves or files load each other."""
    lines = text.split("\n")
    at = random.randrange(len(lines))
    blanks = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    lines.insert(at, blanks + random.choice(_LINES))
    return "\n".join(lines)


_FINE: tuple[Callable[[Random, str], str], ...] = (
    *(
        _replace_alike,
        _replace_alike,
        _value,
        _value,
        _argument,
        _argument,
        _wrap,
        _compute,
        _compute,
        _compute,
        _splice,
        _growth,
    ),
)
_ROUGH: tuple[Callable[[Random, str], str], ...] = (
    *(_replace, _delete, _duplicate, _swap, _insert, _nest, _nest, _lines, _lines, _letters, _bytes),
)
