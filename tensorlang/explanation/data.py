"""An explanation as data for JSON: numbers where sizes are known, polynomials as text where not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorlang.explanation.costs import Count
from tensorlang.explanation.places import lines_of, place
from tensorlang.explanation.words import count_text

if TYPE_CHECKING:
    from tensorlang.explanation.facts import Explanation, Part


def to_dict(e: Explanation) -> dict[str, Any]:
    """The facts of a layer and of those that it calls."""
    return {
        "layer": e.layer,
        "target": e.target,
        "axes": e.scope.signature,
        "hyperparameters": {name: _data(value) for name, value in e.program.hypers},
        "sizes": {name: plain(size) for name, size in e.sizes.items()},
        "parameters": e.parameters,
        "flops": plain(e.totals.flops),
        "bytes": plain(e.totals.bytes),
        "peak_bytes": plain(e.totals.peak_bytes),
        "saved_bytes": plain(e.totals.saved_bytes),
        "memory": e.memory,
        "parameter_table": [
            {"name": p.name, "shape": p.shape, "count": p.count, "initial": p.initial}
            for p in e.parameter_table
        ],
        "regions": [_region(part) for part in e.parts],
        "contractions": [
            {
                "name": c.name,
                "span": [place(span) for span in c.spans],
                "tree": c.tree,
                "factors": c.factors,
                "flops": plain(c.flops),
                "naive_flops": plain(c.naive_flops),
                "bytes": plain(c.bytes),
            }
            for c in e.contractions
        ],
        "rewrites": [
            {
                "rule": rule.rule,
                "what": rule.what,
                "saved": rule.saved,
                "lines": list(lines_of(rule.spans)),
            }
            for rule in e.stages.applied
        ],
        "sub_layers": [inner.to_dict() for inner in e.sub_layers] if not e.calls else [],
    }


def _region(part: Part) -> dict[str, Any]:
    return {
        "backend": part.backend,
        "reason": part.reason,
        "flops": plain(part.flops),
        "bytes": plain(part.bytes),
        "lines": list(lines_of([span for row in part.rows for span in row.spans])),
        "steps": [
            {
                "name": row.name,
                "how": row.how,
                "why": row.why,
                "flops": plain(row.flops),
                "bytes": None if row.bytes is None else plain(row.bytes),
                "lines": list(lines_of(row.spans)),
            }
            for row in part.rows
        ],
        "regimes": [
            {
                "when": choice.when,
                "kept": choice.kept,
                "chosen": choice.chosen,
                "flops": plain(choice.flops),
                "bytes": plain(choice.bytes),
                "peak_bytes": plain(choice.peak_bytes),
                "saved_bytes": plain(choice.saved_bytes),
                "seconds": choice.seconds,
                "trees": list(choice.trees),
                "lines": [list(lines_of(order.spans)) for order in choice.orders],
            }
            for choice in part.regimes
        ],
        "flips": {"training": list(part.flips), "kept": list(part.kept_flips)},
    }


def plain(count: Count) -> int | str:
    """A number, or a polynomial as text."""
    return count if isinstance(count, int) else count_text(count)


def _data(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_data(item) for item in value]
    return value if isinstance(value, (bool, int, float, str)) else str(value)
