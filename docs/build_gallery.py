"""docs/gallery.md: every example, the code that the torch target writes for it, the report."""

from __future__ import annotations

import os
from pathlib import Path

from docs.build_readme import forward_of
from tensorlang.driver import compile_file
from tensorlang.explanation import explain_compiled
from tensorlang.explanation.text import own_text

EXAMPLES = Path(__file__).parent.parent / "examples"

SHOWN: dict[str, tuple[str, str]] = {  # the layer whose code is shown, and the shapes it is for
    "linear": ("Linear", "X=32,64"),
    "mlp": ("GatedMLP", "X=32,64"),
    "norms": ("LayerNorm", "X=32,64"),
    "attention": ("WindowAttention", "X=2,128,64"),
    "axial": ("AxialBlock", "X=2,64,64,256"),
    "third_order": ("ThirdOrderAttention", "X=2,96,32"),
    "grassmann": ("GrassmannMixing", "H=8,1024,256"),
    "conv2d": ("Conv2dZero", "X=8,3,32,32"),
    "tensorised": ("TTLinear", "X=256,64"),
    "flora": ("FLoRAConv2d", "X=8,64,32,32"),
    "fastfood": ("AdaptiveFastfood", "X=256,1024"),
    "embedding": ("Embedding", "token=4,64"),
    "message_passing": ("MessagePassing", "X=1000,16 src=8000 dst=8000"),
    "equivariant": ("CGConvolution", "X=200,32,9 R=2000,3 W=2000,13,32 src=2000 dst=2000"),
    "forces": ("LennardJones", "R=100,13,3"),
    "poisson": ("Laplacian", "X=1000,2"),
    "kernel_density": ("KernelDensity", "X=100,2 S=500,2"),
    "linear_attention": ("LinearAttention", "X=2,128,64"),
    "digits": ("Digits", "X=64,8,8"),
}

HEAD = """\
# Gallery

Each example as it is written, the `forward` that the torch target makes of one of its layers, and
what `tensorlang explain` reports about that layer. Parameters, initial values and the functions
that check shapes are in the emitted file too; `tensorlang compile FILE -o -` prints all of it.

"""


def gallery_page() -> str:
    """The whole page."""
    names = sorted(path.stem for path in EXAMPLES.glob("*.tl"))
    assert sorted(SHOWN) == names, "every example is shown"
    contents = "\n".join(f"- [{name}](#{name}): `{SHOWN[name][0]}`" for name in SHOWN)
    return HEAD + contents + "\n\n" + "\n".join(_section(name) for name in SHOWN)


def _section(name: str) -> str:
    layer, shapes = SHOWN[name]
    before = Path.cwd()
    os.chdir(EXAMPLES)  # so that the page shows plain file names
    try:
        compiled = compile_file(f"{name}.tl")
    finally:
        os.chdir(before)
    given = {key: tuple(map(int, value.split(","))) for key, value in _pairs(shapes)}
    source = (EXAMPLES / f"{name}.tl").read_text(encoding="utf-8")
    return f"""\
## {name}

```tl
{source.rstrip()}
```

What the torch target writes for `{layer}`:

```py
{forward_of(compiled, layer)}
```

`tensorlang explain examples/{name}.tl --layer {layer} {shapes}`:

```text
{own_text(explain_compiled(compiled, layer, given))}
```
"""


def _pairs(shapes: str) -> list[list[str]]:
    return [shape.split("=") for shape in shapes.split()]
