"""The generated part of explain.md: what the page's first command prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tensorlang import requests
from tensorlang.driver import compile_file
from tensorlang.explanation import explain_compiled

ROOT = Path(__file__).parent.parent


def explained_part(page: str) -> str:
    """The output of the first block of commands, one `explain` of a layer at given shapes."""
    found = re.search(r"^```sh\ntensorlang explain (.*)\n```", page, re.MULTILINE)
    assert found is not None, "the page has no such command"
    path, *words = shlex.split(found[1])
    layer = words[words.index("--layer") + 1]
    binds = [words[k + 1] for k, word in enumerate(words) if word == "--bind"]
    compiled = compile_file(ROOT / path, "torch", requests.binds(binds), [layer])
    return f"```text\n{explain_compiled(compiled, layer, requests.shapes(words[-1:]))}\n```\n"
