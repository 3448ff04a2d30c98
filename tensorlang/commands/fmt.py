"""`fmt`: specs in the canonical form."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tensorlang.commands.answered import answers


@click.command("fmt")
@click.argument("specs", type=click.Path(exists=True, dir_okay=False), nargs=-1, required=True)
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit 1 if it would.")
@click.option("--stdout", is_flag=True, help="Print instead of writing.")
@answers
def fmt_command(specs: tuple[str, ...], only_check: bool, stdout: bool) -> None:
    """Lay specs out in the canonical form, comments kept.

    \b
    tensorlang fmt axial.tl
    tensorlang fmt --check *.tl
    """
    from tensorlang.check.spec import decoded
    from tensorlang.syntax.format import format_source

    changed = []
    for path in specs:
        content = Path(path).read_bytes()
        made = format_source(decoded(path, content))
        if stdout:
            click.echo(made, nl=False)
        elif made.encode() != content:
            changed.append(path)
            if not only_check:
                Path(path).write_bytes(made.encode())
    for path in changed:
        click.echo(f"{'would change' if only_check else 'formatted'} {path}", err=True)
    sys.exit(1 if changed and only_check else 0)
