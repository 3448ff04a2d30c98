"""Wrong and nearly right programs: layers of the examples and of tests/errors, changed a little."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from tensorlang.syntax.tokens import KEYWORDS
from tests.example_cases import EXAMPLES

ERRORS = Path(__file__).parent / "errors"
_NAME = r"[A-Za-z_]\w*'*"
_OPERAND = rf"(?<=[=(,*+/~-] )(?:{_NAME}(?:\[[^\[\]]*\])?(?![\w\[('])|[0-9.]+)"
_TOKEN = re.compile(r"\w+'*|\.\.\.|->|[+<>=!]=|//|\s+|.", re.DOTALL)

ATOMS = (
    *("n", "d", "x", "X", "Y", "W", "n'", "d''", "h", "b", "k", "2", "0", "1", "-1", "1.5", "|n|"),
    *("|d|", "true", "inf", "pi", "[1, 2]", '"a"', "(n d)", "...", "X[n + 1]", "X[X]", "X[n, n]"),
    *("X[d else 0, n]", "X[wrap(n + 2)]", "X[clamp(2 * n)]", "X[reflect(-n)]", "X[|n| - 1 - n]"),
    *(
        "sum[n](X)",
        "mean[d](X)",
        "sum[n' where n' <= n](X[n', d])",
        "softmax[n](X)",
        "argmax[n](X)",
    ),
    *("cumsum[n](X)", "count[n where X > 0]", "max[d](X)", "logsumexp[n](X)", "norm[d](X)", "sum"),
    *("exp(X)", "log(n)", "floor(X)", "real(X)", "complex(0, 1)", "complex(X, n)", "min(X, 2)"),
    *("at[n = 0](X)", "at[n = n + 1 else 0](X)", "fft[n -> d](X)", "rfft[d -> k](X)", "X[n - 1]"),
    *("concat[n, d -> k](X, X)", "inv[n, d](X)", "solve[n, d](X, X)", "expm[d, d'](X)", "X[0]"),
    *("grad[X[n]](Y)", "stopgrad(X)", "dropout(X, 0.5)", "f(X)", "f[n = d](X)", "rows[n = x](X)"),
    *(
        "9223372036854775807",
        "1e308",
        "X / 0",
        "(0 * n)",
        "n * n",
        "n // 2",
        "n % 3",
        "-n",
        "not X",
    ),
    *("(X if n > 0 else 0)", "len(X)", "std", "exp", "dim", "X[n else 0]", "X[floor(X[n])]", "X^2"),
)
OPERATORS = (
    *("+", "-", "*", "/", "//", "%", "^", "<", "<=", "==", "!=", " and ", " or ", " if ", " else "),
    *("=", "+=", "max=", "->", ",", ":", "~", "(", ")", "[", "]", " where ", " as ", " in "),
)
LINES = (
    *("dim k = 2", "dim n = n", "dim k = n - d", "dim k = d / 3", "dim x = 0", "index q in n"),
    *("index k, i in d", "const C[d] = 1", "const C[k] = [1, 2]", "const C[d, d'] = d - d'"),
    *("input Z[n, d]: int", "input Z[..., d], P[n]: bool", "input Z[b, (n d)]: complex", "input k"),
    *("param V[d, n] ~ kaiming", "frozen param V[k] ~ normal(std = d)", "param V[d] ~ given"),
    *("sub f = L(d)", "sub f[2] = L(d)", "sub f[n] = K()", "E[] = sum[n, d](X)", "check causal[n]"),
    *("H[n, d] = X", "H[n] = X[n, d]", "H[n, d], G = f(X)", "output H[d, n] = X", "H[n = X] += 1"),
    *(
        "H[n = Z[n, d]] += X",
        "H[d = d' + 1 else drop] max= X",
        "H[(n d)] = X",
        "H[n, k] = X[n, (k d)]",
    ),
    *(
        "H[..., d] = X[..., d]",
        "H[n, d] = X as taylor(degree = 2)",
        "def f(x) = f(x)",
        "    X[n] = 1",
    ),
)
_RAW = ("#", "'", '"', '"""', "\t", "é", "\n", "\n  ", "1e999", "**", "{", "\\", "@", "\x00", "| ")
PIECES = (*ATOMS, *OPERATORS, *LINES, *_RAW)


@cache
def programs() -> tuple[str, ...]:
    """Each layer of an example with what it needs, four times; wrong programs that parse, once."""
    out: list[str] = []
    for path in sorted(EXAMPLES.glob("*.tl")):
        text = path.read_text()
        first = re.search(r"^layer ", text, re.MULTILINE)
        assert first is not None, path
        layers = re.split(r"(?<=\n)(?=layer )", text[first.start() :])
        has_subs = any(re.search(r"^    sub ", layer, re.MULTILINE) for layer in layers)
        head = re.sub(r'^use ".*\n', "", text[: first.start()], flags=re.MULTILINE)
        out.extend([head + "".join(layers)] if has_subs else [head + layer for layer in layers])
    files = sorted(path for path in ERRORS.glob("*.tl") if not path.name.startswith("syntax_"))
    return (*(4 * out), *(path.read_text() for path in files))


def changed(text: str, kind: int, place: int, other: int) -> str:
    """Apply one change; the numbers say which, where, and with what."""
    match kind % 8:
        case 0 | 1 | 2:
            return _replaced(text, _OPERAND, place, ATOMS[other % len(ATOMS)])
        case 3:
            names = [name for name in re.findall(_NAME, text) if name not in KEYWORDS] or ["X"]
            return _replaced(text, _NAME, place, names[other % len(names)])
        case 4:
            return _replaced(text, r"[-+*/%^<>=,]+", place, OPERATORS[other % len(OPERATORS)])
        case 5:
            return _lines_changed(text, place, other)
        case 6:
            parts = _TOKEN.findall(text)
            return "".join(_parts_changed(parts, place, other, PIECES[other % len(PIECES)]))
        case _:
            return "".join(_parts_changed(list(text), place, other, _RAW[other % len(_RAW)]))


def _replaced(text: str, pattern: str, place: int, piece: str) -> str:
    """Put the piece for a match of the pattern, no word of the language, in a layer's body."""
    body = max(text.find("\n    "), 0)
    matches = re.compile(pattern).finditer(text, body)
    found = [match for match in matches if match.group() not in KEYWORDS]
    if not found:
        return text + piece
    match = found[place % len(found)]
    return text[: match.start()] + piece + text[match.end() :]


def _lines_changed(text: str, place: int, other: int) -> str:
    lines = text.splitlines() or [""]
    i, j = place % len(lines), other % len(lines)
    match other % 5:
        case 0:
            del lines[i]
        case 1:
            lines[i], lines[j] = lines[j], lines[i]
        case 2:
            lines.insert(i, lines[j])
        case _:
            lines.insert(i + 1, "    " + LINES[other // 5 % len(LINES)])
    return "\n".join(lines) + "\n"


def _parts_changed(parts: list[str], place: int, other: int, piece: str) -> list[str]:
    if not parts:
        return [piece]
    i, j = place % len(parts), other % len(parts)
    match other % 5:
        case 0:
            return parts[:i] + parts[i + 1 :]
        case 1:
            return [*parts[: i + 1], *parts[i:]]
        case 2:
            parts[i], parts[j] = parts[j], parts[i]
            return parts
        case 3:
            return [*parts[:i], piece, *parts[i + 1 :]]
        case _:
            return [*parts[:i], piece, *parts[i:]]
