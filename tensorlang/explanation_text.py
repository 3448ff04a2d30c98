"""An explanation as text: totals, the steps with their costs, regions and rewrites."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorlang.explanation import Count, Explanation


def to_text(explanation: Explanation) -> str:
    """Print an explanation for a terminal or a pipe."""
    where = ""
    if explanation.sizes:
        where = " at " + ", ".join(f"{name} = {size}" for name, size in explanation.sizes.items())
    out = [f"{explanation.layer}{where}", f"  parameters  {explanation.parameters:,}"]
    out += [f"  {name:<11} {_count(count)}" for name, count in explanation.totals.items()]
    out += ["", "  steps"]
    width = max((len(row.name) for row in explanation.rows), default=0)
    for row in explanation.rows:
        at = "line " + ", ".join(map(str, row.lines)) if row.lines else ""
        out.append(f"    {row.backend:<6} {row.name:<{width}}  {_count(row.flops):>16} FLOPs  {at}")
    out += ["", "  regions"]
    for region in explanation.stages.plan.regions:
        out.append(f"    {region.backend:<6} {region.reason}")
    if explanation.stages.applied:
        out += ["", "  rewrites"]
        out += [f"    {rule.rule}: {rule.what}" for rule in explanation.stages.applied]
    return "\n".join(line.rstrip() for line in out)


def _count(count: Count) -> str:
    return f"{count:,}" if isinstance(count, int) else str(count)
