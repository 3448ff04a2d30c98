"""`run` and `verify`: a layer on arrays; every target against the reference."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from tensorlang import requests
from tensorlang.commands.answered import answers, table
from tensorlang.commands.asked import BIND, LAYERS, SEED, SPEC, STYLE, TARGET


@click.command("run")
@SPEC
@click.argument("inputs", nargs=-1, metavar="[INPUT=SHAPE|FILE.npy]...")
@TARGET
@BIND
@click.option("-l", "--layer", help="Which layer; needed where a file has several.")
@SEED
@click.option("--reference", "as_reference", is_flag=True, help="Use the reference evaluator.")
@click.option("-o", "--output", metavar="FILE.npz", help="Write the outputs there.")
@STYLE
@answers
def run_command(
    spec: str,
    inputs: tuple[str, ...],
    target: str,
    bind: tuple[str, ...],
    layer: str | None,
    seed: int,
    as_reference: bool,
    output: str | None,
    style: str,
) -> None:
    """Run a layer on arrays from files or on random inputs of given shapes.

    Params `~ given` are read from files too, W=weights.npy; of sub-layers f.W=weights.npy.

    \b
    tensorlang run axial.tl --layer AxialAttention X=2,16,256
    tensorlang run kde.tl X=points.npy S=samples.npy -o out.npz
    """
    from tensorlang.running import run_layer

    results = run_layer(
        spec, layer, requests.binds(bind), inputs, target=target, seed=seed, reference=as_reference
    )
    if output is not None:
        import numpy as np  # only here: the other commands need not wait for it

        np.savez(output, **results)  # type: ignore[arg-type]
    facts = [(n, str(tuple(v.shape)), str(v.dtype), *_moments(v)) for n, v in results.items()]
    head = ("output", "shape", "dtype", "mean", "min", "max")
    if style == "json":
        click.echo(json.dumps([dict(zip(head, row, strict=True)) for row in facts], indent=2))
    else:
        table(f"{'reference' if as_reference else target}, seed {seed}", head, facts)


def _moments(value: Any) -> tuple[str, str, str]:
    if value.size == 0:
        return "", "", ""
    real = abs(value) if value.dtype.kind == "c" else value.astype(float)
    return f"{real.mean():.6g}", f"{real.min():.6g}", f"{real.max():.6g}"


@click.command("verify")
@SPEC
@BIND
@LAYERS
@SEED
@STYLE
@answers
def verify_command(
    spec: str, bind: tuple[str, ...], layers: tuple[str, ...], seed: int, style: str
) -> None:
    """Compare every target with the reference evaluator on random inputs, values and gradients.

    \b
    tensorlang verify axial.tl --bind d=8 --bind heads=2
    """
    from tensorlang.verification import verify

    report = verify(spec, bind=requests.binds(bind), layers=layers or None, seed=seed)
    if style == "json":
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        table(
            spec,
            ("layer", "target", "what", "error", "allowed", ""),
            [
                (
                    f.layer,
                    f.target,
                    f.what,
                    f"{f.error:.1e}",
                    f"{f.allowed:.0e}",
                    "ok" if f.ok else "WRONG",
                )
                for f in report.findings
            ],
        )
    sys.exit(0 if report.ok else 1)
