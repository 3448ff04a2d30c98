"""`profile`: what a device charges."""

from __future__ import annotations

import click

from tensorlang import requests
from tensorlang.commands.answered import answers, write
from tensorlang.commands.asked import OUTPUT


@click.command("profile")
@click.option("--device", default="cpu", show_default=True, help="A torch device: cpu or cuda.")
@OUTPUT
@answers
def profile_command(device: str, output: str | None) -> None:
    """Measure what GEMMs, passes and copies cost on a device, for --profile.

    \b
    tensorlang profile -o my_profile.json
    tensorlang compile axial.tl --profile my_profile.json
    """
    from tensorlang.order.profile import to_json
    from tensorlang.profiling import measure

    try:
        made = measure(device, device)
    except RuntimeError as error:  # torch's, for a device that it lacks
        raise requests.BadRequest(f"cannot measure {device!r}: {error}") from None
    write(to_json(made), output)
