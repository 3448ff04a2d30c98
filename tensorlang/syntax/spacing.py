"""How one logical line is printed: spaces between tokens, breaks where it is too long.

Both depend on the tokens alone, so printing what was printed changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tensorlang.syntax.tokens import KEYWORDS, Token

WIDTH = 100
INDENT = 4
_WORD_WIDTH = 6  # of input, param, ..., padded so that what they declare stands in one column

_OPEN = frozenset(("LPAR", "LSQB"))
_CLOSE = frozenset(("RPAR", "RSQB"))
_WORDS = frozenset(KEYWORDS.values())
_PADDED = frozenset(("INPUT", "PARAM", "CONST", "DIM", "INDEX", "SUB", "CHECK"))
_BINARY = frozenset(
    (
        *("PLUS", "MINUS", "TIMES", "DIVIDE", "FLOOR_DIVIDE", "MODULO", "CARET", "ARROW"),
        *("EQ", "NE", "LE", "LT", "GE", "GT", "EQUALS", "ADD_TO", "MAX_TO", "MIN_TO", "TILDE"),
    )
)
# How tightly what stands on both sides of a break belongs together; 0 after a comma.
_TIGHTNESS = {
    **dict.fromkeys(("IF", "ELSE", "WHERE", "OR", "AND"), 1),
    **dict.fromkeys(("EQ", "NE", "LE", "LT", "GE", "GT"), 2),
    **dict.fromkeys(("PLUS", "MINUS"), 3),
    **dict.fromkeys(("TIMES", "DIVIDE", "FLOOR_DIVIDE", "MODULO"), 4),
}
_AFTER_BRACKET = 5
_LINE = 50  # what one line more costs; a break costs the square of its own cost
_PARAMETERS = 100  # what a break among the parameters of a def costs besides
_OVERFLOW = 100_000  # what a column beyond WIDTH costs
_DEEPEST = 6  # brackets that are still seen in the indentation


@dataclass(frozen=True, slots=True)
class Piece:
    """A token as printed: the spaces before it, its text, how willingly the line breaks before it.

    `cost` orders places by the brackets around them (square ones count twice), then by tightness;
    None where the line may not break. `depth` is the number of those brackets.
    """

    space: str
    text: str
    cost: int | None
    depth: int


def pieces(tokens: Sequence[Token]) -> list[Piece]:
    """Give the pieces of a line. A comma before a closing bracket is left out."""
    out: list[Piece] = []
    before: Token | None = None
    before_is_unary = False
    costs: list[int] = []
    is_parameter = bool(tokens) and tokens[0].type == "DEF"
    for i, token in enumerate(tokens):
        is_parameter = is_parameter and (bool(costs) or token.type != "EQUALS")
        if token.type == "COMMA" and i + 1 < len(tokens) and tokens[i + 1].type in _CLOSE:
            continue
        is_unary = token.type == "MINUS" and (before is None or _awaits_operand(before))
        if token.type in _CLOSE:
            costs.pop()
        if before is None:
            out.append(Piece("", _text(token), None, 0))
        else:
            space = " " if _is_apart(before, before_is_unary, token, is_unary) else ""
            if before.type in _PADDED and (i == 1 or tokens[0].type != "FROZEN"):
                space = space.ljust(_WORD_WIDTH - len(before.text) + 1) if i == 1 else space
            tightness = None if is_unary and before.type != "COMMA" else _tightness(before, token)
            cost = None if tightness is None or not costs else 10 * sum(costs) + tightness
            if cost is not None and is_parameter:
                cost += _PARAMETERS
            out.append(Piece(space, _text(token), cost, len(costs)))
        if token.type in _OPEN:
            costs.append(1 if token.type == "LPAR" else 2)
        before, before_is_unary = token, is_unary
    return out


def parenthesised(tokens: Sequence[Token], at: int) -> Sequence[Token]:
    """Put what follows token `at` (a sign) in parentheses, so that its line can break.

    The tokens come back as they are where the value is one operand, which has brackets of its own.
    """
    depth, is_compound, end = 0, False, len(tokens)
    for i in range(at + 1, len(tokens)):
        token = tokens[i]
        depth += (token.type in _OPEN) - (token.type in _CLOSE)
        if depth == 0 and token.type == "AS":
            end = i
            break
        is_compound = is_compound or (depth == 0 and token.type in _TIGHTNESS)
    if not is_compound:
        return tokens
    left = Token("LPAR", "(", tokens[at].span)
    right = Token("RPAR", ")", tokens[end - 1].span)
    return [*tokens[: at + 1], left, *tokens[at + 1 : end], right, *tokens[end:]]


def joined(line: Sequence[Piece]) -> str:
    """Print the pieces in one line."""
    return "".join([line[0].text, *(piece.space + piece.text for piece in line[1:])])


def wrapped(line: Sequence[Piece], first: int, further: int) -> list[str]:
    """Print the pieces in lines of at most WIDTH columns, as far as brackets allow it.

    A line breaks after the bracket that its end closes, if the rest then fits; else where the
    breaks together cost least. `first` and `further` are the indentation of the first line and of
    those that continue it; each bracket around a continuation but one indents it by INDENT more.
    """
    if len(joined(line)) <= WIDTH - first:
        return [" " * first + joined(line)]
    at = _after_last_bracket(line, WIDTH - first, WIDTH - further)
    ends = [len(line)] if at is None else [at, len(line)]
    if at is None:
        ends = _ends(line, first, further)
    starts = [0, *ends[:-1]]
    indents = [first, *(_indent(line[start], further) for start in starts[1:])]
    return [
        " " * indent + joined(line[start:end])
        for start, end, indent in zip(starts, ends, indents, strict=True)
    ]


def _indent(piece: Piece, further: int) -> int:
    return further + INDENT * (min(max(piece.depth, 1), _DEEPEST) - 1)


def _after_last_bracket(line: Sequence[Piece], room: int, room_further: int) -> int | None:
    """The first place inside the parentheses that close at the end of the line."""
    if line[-1].text != ")":
        return None
    depth = 0
    for i in range(len(line) - 1, 0, -1):
        depth += (line[i].text == ")") - (line[i].text == "(")
        if depth == 0:
            is_fit = len(joined(line[: i + 1])) <= room
            is_rest_fit = len(joined(line[i + 1 :])) <= room_further
            return i + 1 if is_fit and is_rest_fit else None
    return None


def _ends(line: Sequence[Piece], first: int, further: int) -> list[int]:
    """Where the printed lines end whose breaks cost least together."""
    places = [0, *(i for i, piece in enumerate(line) if i and piece.cost is not None), len(line)]
    ahead = {len(line): (0, len(line))}
    for number in range(len(places) - 2, -1, -1):
        start = places[number]
        indent = _indent(line[start], further) if start else first
        used, last = len(line[start].text) + indent, start + 1
        best: tuple[int, int] | None = None
        for end in places[number + 1 :]:
            used += sum(len(piece.space) + len(piece.text) for piece in line[last:end])
            last = end
            if best is not None and used > WIDTH:
                break
            cost = line[end].cost if end < len(line) else None
            total = ahead[end][0] + (0 if cost is None else _LINE + cost * cost)
            total += _OVERFLOW * max(used - WIDTH, 0)
            if best is None or total <= best[0]:
                best = (total, end)
        assert best is not None, places
        ahead[start] = best
    ends, start = [], 0
    while start < len(line):
        start = ahead[start][1]
        ends.append(start)
    return ends


def _tightness(before: Token, token: Token) -> int | None:
    if before.type == "COMMA":
        return 0
    if before.type == "LPAR" and token.type != "RPAR":
        return _AFTER_BRACKET
    return _TIGHTNESS.get(token.type)


def _text(token: Token) -> str:
    match token.type:
        case "STRING":
            return f'"{token.text}"'
        case "SIZE":
            return f"|{token.text}|"
        case _:
            return token.text


def _awaits_operand(before: Token) -> bool:
    """Say whether a minus after this token is unary."""
    return (
        before.type in _OPEN
        or before.type in _BINARY
        or before.type in _WORDS
        or (before.type in ("COMMA", "COLON"))
    )


def _is_apart(before: Token, before_is_unary: bool, token: Token, is_unary: bool) -> bool:
    if before.type in _OPEN or token.type in _CLOSE or token.type in ("COMMA", "COLON"):
        return False
    if before_is_unary or "CARET" in (before.type, token.type):
        return False
    if token.type in _OPEN:
        is_called = before.type == "NAME" or (before.type == "RSQB" and token.type == "LPAR")
        return not is_called
    return True
