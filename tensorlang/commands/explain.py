"""`explain` and `graph`: what was planned and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from tensorlang import requests
from tensorlang.commands.answered import answers, table, write
from tensorlang.commands.asked import BIND, LAYERS, OUTPUT, SHAPES, SPEC, STYLE, TARGET, planning
from tensorlang.options import Options

if TYPE_CHECKING:
    from tensorlang.driver import Compiled


@click.command("explain")
@SPEC
@SHAPES
@TARGET
@BIND
@LAYERS
@STYLE
@click.option("--svg", metavar="FILE", help="Also draw the graph of the (one) layer there.")
@click.option("--html", metavar="FILE", help="Also write a page: plans, costs, graphs, source.")
@click.option(
    "--measure", is_flag=True, help="Time the likeliest plans here, at the given shapes or --at."
)
@click.option(
    "--at", metavar="DIM=SIZE,...", multiple=True, help="Sizes to measure at; batch is that of ..."
)
@click.option("--device", default="cpu", show_default=True, help="Where to measure: cpu or cuda.")
@planning
@answers
def explain_command(
    spec: str,
    shapes: tuple[str, ...],
    target: str,
    bind: tuple[str, ...],
    layers: tuple[str, ...],
    style: str,
    svg: str | None,
    html: str | None,
    measure: bool,
    at: tuple[str, ...],
    device: str,
    ranges: tuple[str, ...],
    memory: str | None,
    profile: str,
    path_finder: str,
) -> None:
    """Say what was planned and why: steps, FLOPs, bytes, where each line went.

    \b
    tensorlang explain axial.tl --layer AxialAttention X=2,64,64,256
    tensorlang explain axial.tl --html axial.html
    tensorlang explain tt.tl --measure --at batch=1,16,256
    """
    from tensorlang.driver import compile_file
    from tensorlang.explanation import explain_compiled
    from tensorlang.explanation.page import to_page

    given = requests.shapes(shapes)
    options = Options(
        profile=profile,
        ranges=requests.ranges(ranges),
        memory=requests.memory(memory),
        path_finder=path_finder,
    )
    compiled = compile_file(spec, target, requests.binds(bind), layers or None, options)
    grid = requests.sizes(at)
    if grid and not measure:
        raise requests.BadRequest("--at goes with --measure")
    if (given or svg or measure) and len(compiled.roots) != 1:
        raise requests.BadRequest(f"choose one with --layer: {', '.join(compiled.roots)}")
    explained = [explain_compiled(compiled, name, given) for name in compiled.roots]
    if svg is not None:
        write(explained[0].to_svg(), svg)
    if html is not None:
        write(to_page(explained), html)
    if measure:
        _measure(compiled, given, grid, device, style)
    elif style == "json":
        click.echo(json.dumps([e.to_dict() for e in explained], indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        from rich.console import Console

        for explanation in explained:
            Console().print(explanation, "")
    else:
        click.echo("\n\n".join(str(e) for e in explained))


def _measure(
    compiled: Compiled,
    given: Mapping[str, tuple[int, ...]],
    grid: Mapping[str, tuple[int, ...]],
    device: str,
    style: str,
) -> None:
    """Print the plans of the one layer at all sizes asked for, predicted beside measured."""
    from tensorlang import measurement

    (layer,) = compiled.roots
    sizes = measurement.points(compiled, layer, given, grid)
    try:
        rows = measurement.measure(compiled, layer, sizes, device)
    except RuntimeError as error:  # torch's, for a device that it lacks
        raise requests.BadRequest(f"cannot measure on {device!r}: {error}") from None
    if style == "json":
        click.echo(json.dumps(measurement.to_dict(rows), indent=2, ensure_ascii=False))
        return
    table(f"{layer} on {device}", measurement.HEAD, measurement.table(rows))
    click.echo(measurement.summary(rows))


@click.command("graph")
@SPEC
@OUTPUT
@BIND
@click.option("-l", "--layer", help="Which layer; needed where a file has several.")
@click.option("--as", "form", type=click.Choice(["text", "json", "dot", "svg"]), default="text")
@click.option("--lowered", is_flag=True, help="Before the rewrites.")
@answers
def graph_command(
    spec: str,
    output: str | None,
    bind: tuple[str, ...],
    layer: str | None,
    form: str,
    lowered: bool,
) -> None:
    """Print the graph of a layer.

    \b
    tensorlang graph axial.tl --layer AxialAttention --as svg -o axial.svg
    """
    from tensorlang.driver import compile_file
    from tensorlang.ir import svg, text

    compiled = compile_file(spec, "torch", requests.binds(bind), [layer] if layer else None)
    if len(compiled.roots) != 1:
        raise requests.BadRequest(f"choose one with --layer: {', '.join(compiled.roots)}")
    (name,) = compiled.roots.values()
    stages = compiled.stages[name, ""]
    made = stages.graph if lowered else stages.rewritten
    printers = {"text": text.to_text, "json": text.to_json, "dot": text.to_dot, "svg": svg.to_svg}
    write(printers[form](made), output)
