"""`factorise`: factors in place of the weights of a file."""

from __future__ import annotations

import json

import click

from tensorlang import requests
from tensorlang.commands.answered import answers, bar, table
from tensorlang.commands.asked import STYLE


@click.command("factorise")
@click.argument("model", type=click.Path(exists=True, dir_okay=False))
@click.option("--as", "form", required=True, help="tucker, cp, tt, lowrank, …")
@click.option(
    "--rank", metavar="RANK", help="An integer, [a, list], or a ratio of parameters: 0.2."
)
@click.option("--tol", type=float, help="Relative error, in place of a rank.")
@click.option("--match", default="*", show_default=True, help="Only tensors of this name pattern.")
@click.option("--least", default=4096, show_default=True, help="Leave tensors with fewer numbers.")
@click.option("-o", "--output", metavar="FILE", help="Where to write; without it nothing is.")
@STYLE
@answers
def factorise_command(
    model: str,
    form: str,
    rank: str | None,
    tol: float | None,
    match: str,
    least: int,
    output: str | None,
    style: str,
) -> None:
    """Put factors in place of the weights of a .safetensors or .pt file, and say what they cost.

    \b
    tensorlang factorise model.safetensors --as tucker --rank 0.2 -o out.safetensors
    tensorlang factorise model.pt --as lowrank --tol 0.05 --match "*.mlp.*.weight"
    """
    from tensorlang import factorisation as f

    ranks = None if rank is None else requests.value(rank)
    with bar() as progress:
        state, rows = f.factorise_state(
            f.read_state(model),
            form,
            rank=list(ranks) if isinstance(ranks, tuple) else ranks,
            tol=tol,
            match=match,
            least=least,
            progress=progress,
        )
    if output is not None:
        f.write_state(state, output, rows)
    cells = list(f.table(rows))
    if style == "json":
        click.echo(json.dumps([f.to_dict(row) for row in rows], indent=2))
    else:
        table(f"{model} as {form}", f.HEAD, [*cells, f.total(rows)] if rows else cells)
