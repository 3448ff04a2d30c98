"""Arguments and options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
SPEC = click.argument("spec", type=click.Path(exists=True, dir_okay=False))
BIND = click.option(
    "-b", "--bind", multiple=True, metavar="[LAYER.]NAME=VALUE", help="Set a hyperparameter."
)
LAYERS = click.option("-l", "--layer", "layers", multiple=True, help="Only this layer.")
STYLE = click.option("--format", "style", type=click.Choice(["text", "json"]), default="text")
TARGET = click.option("-t", "--target", default="torch", show_default=True, help="torch or triton.")
SEED = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**63 - 1),
    help="For parameters and random inputs.",
)
OUTPUT = click.option("-o", "--output", metavar="FILE", help="Where to write; - is stdout.")
SHAPES = click.argument("shapes", nargs=-1, metavar="[INPUT=SIZE,SIZE,...]...")

_PLANNING = (
    click.option(
        "--range", "ranges", multiple=True, metavar="DIM=LEAST:MOST", help="Sizes to plan for."
    ),
    click.option(
        "--memory", metavar="SIZE", help="Bound on the bytes of intermediates, such as 2GB."
    ),
    click.option(
        "--profile",
        default="cpu",
        show_default=True,
        metavar="NAME|FILE.json",
        help="Device whose costs are assumed: cpu, generic, a100, h100, h200, or a file.",
    ),
    click.option("--path-finder", default="auto", show_default=True, help="auto or cotengra."),
)


def planning(command: Command) -> Command:
    """Options of planning, shared by the commands that plan."""
    for option in reversed(_PLANNING):
        command = option(command)
    return command
