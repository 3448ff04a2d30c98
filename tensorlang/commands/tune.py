"""`tune`: launch configurations of kernels, measured on the GPU at hand."""

from __future__ import annotations

from pathlib import Path

import click

from tensorlang import requests
from tensorlang.commands.answered import answers, write
from tensorlang.commands.asked import BIND, LAYERS, OUTPUT, SHAPES, SPEC, planning
from tensorlang.options import Options


@click.command("tune")
@SPEC
@SHAPES
@BIND
@LAYERS
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "bfloat16", "float16", "float64"]),
    help="Of inputs and parameters.",
)
@planning
@OUTPUT
@answers
def tune_command(
    spec: str,
    shapes: tuple[str, ...],
    bind: tuple[str, ...],
    layers: tuple[str, ...],
    dtype: str,
    ranges: tuple[str, ...],
    memory: str | None,
    profile: str,
    path_finder: str,
    output: str | None,
) -> None:
    """Measure launch configurations of Triton kernels here, for compile --tune.

    Writes SPEC.tune.json beside the spec; entries of other kernels that are there stay.

    \b
    tensorlang tune axial.tl --layer AxialAttention X=2,64,64,256 --dtype bfloat16
    tensorlang compile axial.tl --target triton --tune axial.tune.json
    """
    from tensorlang import tune_file
    from tensorlang.driver import compile_file
    from tensorlang.tuning import refuse_without_gpu, tune

    options = Options(
        profile=profile,
        ranges=requests.ranges(ranges),
        memory=requests.memory(memory),
        path_finder=path_finder,
    )
    given = requests.shapes(shapes)
    compiled = compile_file(spec, "triton", requests.binds(bind), layers or None, options)
    if len(compiled.roots) != 1:
        raise requests.BadRequest(f"choose one with --layer: {', '.join(compiled.roots)}")
    refuse_without_gpu()
    place = output or str(Path(spec).with_suffix(".tune.json"))
    before = tune_file.read(place) if place != "-" and Path(place).exists() else ()
    made = tune_file.merged(before, tune(compiled, given, dtype))
    write(tune_file.to_json(made), place)
    if place != "-":
        click.echo(f"wrote {place}: {len(made)} configurations", err=True)
