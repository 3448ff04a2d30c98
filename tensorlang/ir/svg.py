"""A graph drawn as SVG, by itself or inside a page: layers downwards, names, kinds, costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tensorlang.ir import cost
from tensorlang.ir.graph import Graph
from tensorlang.ir.nodes import Contract, Node, NodeId, Reduce, Softmax
from tensorlang.ir.text import NodePrinter, kind, letters, node_names, shape_text

_CHARACTER = 7.2  # width of a monospaced character of 12 px
_PAD = 10.0
_HEIGHT = 54.0
_GAP_X = 24.0
_GAP_Y = 46.0
_MARGIN = 20.0
_MOST = 44  # characters of a line before it is cut

_FILL = {
    "input": "#d8ecd4",
    "param": "#f6e3c5",
    "const": "#ece9df",
    "contract": "#cfe0f5",
    "pointwise": "#ffffff",
    "softmax": "#f3d3dc",
    "scatter": "#e4d5f2",
    "call": "#d9d9d9",
}
_OTHER = "#d5efee"


@dataclass(frozen=True, slots=True)
class _Box:
    lines: tuple[str, ...]
    tooltip: str
    kind: str
    bold: bool

    @property
    def width(self) -> float:
        return max(len(line) for line in self.lines) * _CHARACTER + 2 * _PAD


def to_svg(graph: Graph) -> str:
    """Draw the nodes that the outputs need. The same graph gives the same bytes."""
    boxes = _boxes(graph, lambda node: cost.to_text(cost.flops(graph.node(node))))
    places, width, height = _laid_out(graph, boxes)
    title = escape(f"{graph.program.layer} {graph.program.signature}".strip())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' width="{width:.0f}" height="{height:.0f}" font-family="monospace" font-size="12">',
        f"<title>{title}</title>",
        _tip("tip", 'fill="#667"'),
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        *_edges(graph, boxes, places, 'fill="none" stroke="#889" marker-end="url(#tip)"'),
        *(_drawn(boxes[n], x, y) for n, (x, y) in places.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def to_inline_svg(
    graph: Graph,
    prefix: str,
    count: Callable[[NodeId], str],
    share: Callable[[NodeId], float],
) -> str:
    """The same for a page that brings the colours, by classes.

    Each node leads to `#PREFIX` and its number; `count` writes the FLOPs of a node ("0" if there
    are none), `share` (0 to 1) is the length of a bar below it.
    """
    boxes = _boxes(graph, count)
    places, width, height = _laid_out(graph, boxes)
    tip = f"{prefix}tip"
    parts = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
        ' font-family="monospace" font-size="12" role="group">',
        _tip(tip, 'class="tip"'),
        *_edges(graph, boxes, places, f'class="edge" marker-end="url(#{tip})"'),
    ]
    for identity, (x, y) in places.items():
        box, part = boxes[identity], share(identity)
        lines = "".join(
            f'<text x="{x + _PAD:.1f}" y="{y + 16 + 15 * k:.1f}"{bold}>{escape(line)}</text>'
            for k, (line, bold) in enumerate(zip(box.lines, (' class="name"', "", ""), strict=True))
        )
        bar = (
            f'<rect class="bar" x="{x:.1f}" y="{y + _HEIGHT - 4:.1f}" height="4"'
            f' width="{box.width * part:.1f}"/>'
        )
        out = " out" if box.bold else ""
        parts.append(
            f'<a class="node k-{box.kind}{out}" href="#{prefix}{identity}">'
            f"<title>{escape(box.tooltip)}</title>"
            f'<rect class="box" x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}"'
            f' height="{_HEIGHT:.0f}" rx="5"/>{bar if part > 0 else ""}{lines}</a>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _laid_out(
    graph: Graph, boxes: Mapping[NodeId, _Box]
) -> tuple[dict[NodeId, tuple[float, float]], float, float]:
    """Upper left corners, and the extent of all."""
    layers = _ordered(graph, _layers(graph))
    places = _places(layers, boxes)
    width = max((x + boxes[n].width for n, (x, _) in places.items()), default=0.0) + _MARGIN
    return places, width, len(layers) * (_HEIGHT + _GAP_Y) - _GAP_Y + 2 * _MARGIN


def _boxes(graph: Graph, count: Callable[[NodeId], str]) -> dict[NodeId, _Box]:
    names = node_names(graph)
    printer = NodePrinter(names.__getitem__)
    boxes = {}
    for identity in graph.alive():
        node = graph.node(identity)
        flops = count(identity)
        spans = graph.provenance(identity).spans
        lines = ", ".join(dict.fromkeys(f"line {span.line}" for span in spans))
        text = printer.right(node)
        boxes[identity] = _Box(
            (
                _cut(f"{names[identity]}[{shape_text(node.shape)}]"),
                _cut(_what(node)),
                _cut(f"{flops} flops" if flops != "0" else " "),
            ),
            f"{names[identity]}[{', '.join(letters(range(node.rank)))}] = {text}\n{lines}",
            kind(node),
            identity in graph.outputs,
        )
    return boxes


def _what(node: Node) -> str:
    """Kind and the indices it acts on, with their sizes."""
    match node.op:
        case Contract() | Reduce():
            over = shape_text([node.sizes[index] for index in node.bound])
        case Softmax(axes):
            over = shape_text([node.sizes[axis] for axis in axes])
        case _:
            over = ""
    return f"{kind(node)} over {over}" if over else kind(node)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"


# --- layout --------------------------------------------------------------------------------------
def _layers(graph: Graph) -> list[list[NodeId]]:
    """The graph's generations, leaves moved down to just above their first reader."""
    depth = {n: k for k, layer in enumerate(graph.generations()) for n in layer}
    for identity in sorted(depth):
        readers = [depth[reader] for reader in graph.readers(identity) if reader in depth]
        if not graph.operands(identity) and readers:
            depth[identity] = min(readers) - 1
    layers: list[list[NodeId]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for identity in sorted(depth):
        layers[depth[identity]].append(identity)
    return layers


def _ordered(graph: Graph, layers: list[list[NodeId]]) -> list[list[NodeId]]:
    """Each layer sorted by the mean place of its neighbours: down, up, down (Sugiyama et al.)."""
    place = {n: (k + 0.5) / len(layer) for layer in layers for k, n in enumerate(layer)}
    for sweep in range(4):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            beside = graph.operands if down else graph.readers
            near = {n: [place[m] for m in beside(n) if m in place] for n in layer}
            wanted = {n: sum(near[n]) / len(near[n]) if near[n] else place[n] for n in layer}
            layer.sort(key=lambda n: (wanted[n], n))
            place.update((n, (k + 0.5) / len(layer)) for k, n in enumerate(layer))
    return layers


def _places(
    layers: Sequence[Sequence[NodeId]], boxes: Mapping[NodeId, _Box]
) -> dict[NodeId, tuple[float, float]]:
    """Upper left corners; every layer is centred."""
    widths = [sum(boxes[n].width + _GAP_X for n in layer) - _GAP_X for layer in layers]
    places = {}
    for depth, (layer, width) in enumerate(zip(layers, widths, strict=True)):
        x = _MARGIN + (max(widths) - width) / 2
        for identity in layer:
            places[identity] = (x, _MARGIN + depth * (_HEIGHT + _GAP_Y))
            x += boxes[identity].width + _GAP_X
    return places


# --- drawing -------------------------------------------------------------------------------------
def _edges(
    graph: Graph,
    boxes: Mapping[NodeId, _Box],
    places: Mapping[NodeId, tuple[float, float]],
    look: str,
) -> Iterator[str]:
    for identity, (x, y) in places.items():
        operands = [n for n in graph.operands(identity) if n in places]
        operands.sort(key=lambda n: places[n][0])
        for k, operand in enumerate(operands):
            above = places[operand]
            x0, y0 = above[0] + boxes[operand].width / 2, above[1] + _HEIGHT
            x1 = x + boxes[identity].width * (k + 1) / (len(operands) + 1)
            bend = max((y - y0) / 2, 12.0)
            yield (
                f'<path d="M{x0:.1f} {y0:.1f}C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y - bend:.1f}'
                f' {x1:.1f} {y:.1f}" {look}/>'
            )


def _tip(identity: str, look: str) -> str:
    return (
        f'<defs><marker id="{identity}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
        f' markerHeight="7" orient="auto"><path d="M0 1L8 4L0 7z" {look}/></marker></defs>'
    )


def _drawn(box: _Box, x: float, y: float) -> str:
    stroke = 'stroke="#222" stroke-width="2"' if box.bold else 'stroke="#778"'
    looks = ('font-weight="bold"', 'fill="#445"', 'fill="#445"')
    lines = "".join(
        f'<text x="{x + _PAD:.1f}" y="{y + 16 + 15 * k:.1f}" {look}>{escape(line)}</text>'
        for k, (line, look) in enumerate(zip(box.lines, looks, strict=True))
    )
    return (
        f"<g><title>{escape(box.tooltip)}</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{box.width:.1f}" height="{_HEIGHT:.0f}" rx="5"'
        f' fill="{_FILL.get(box.kind, _OTHER)}" {stroke}/>{lines}</g>'
    )
