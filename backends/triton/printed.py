"""Text that every emitted Triton module carries: when kernels run, how they are launched,
registered and differentiated."""

IMPORTS = (
    "import os",
    "import warnings",
    "from collections.abc import Callable",
    "from typing import Any",
    "from torch.nn.attention import SDPBackend, sdpa_kernel",
)

HEAD = """\
try:
    import triton
    import triton.language as tl
except ImportError:  # everything below then runs in plain torch
    triton = None

_INTERPRET = os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes")


def _jit(function: Callable[..., Any]) -> Any:
    return function if triton is None else triton.jit(function)
"""

LAUNCH = '''\
_said: list[str] = []


def _kernels_run(x: Tensor) -> bool:
    """Whether kernels run where x lies; if not, torch computes the same, and says so once."""
    if triton is not None and (x.is_cuda or (_INTERPRET and x.device.type == "cpu")):
        return True
    if not _said and not torch.compiler.is_compiling():
        why = "Triton is not installed" if triton is None else f"it runs on {x.device.type}"
        _said.append(why)
        warnings.warn(f"the Triton kernels of this module run in plain torch: {why}", stacklevel=3)
    return False


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _common(*tensors: Tensor) -> torch.dtype:
    """The dtype that torch promotes real tensors to."""
    dtype = tensors[0].dtype
    for x in tensors[1:]:
        dtype = torch.promote_types(dtype, x.dtype)
    return dtype


def _low(dtype: torch.dtype, x: Tensor) -> torch.dtype:
    """The dtype of products under autocast."""
    if dtype != torch.float64 and torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return dtype


def _innermost(x: Tensor) -> Tensor:
    """x with its last axis innermost in memory; a copy only where it is not."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _choice(table: dict[str, Any], dtype: torch.dtype, device: torch.device) -> Any:
    """The row of a table of configurations for a dtype and a device, None if there is none."""
    if _INTERPRET:
        return table["interpreter"]
    precision = {torch.float32: "float", torch.float64: "double"}.get(dtype, "half")
    if torch.version.hip is not None:
        chip = "cdna"
    else:
        chip = "hopper" if torch.cuda.get_device_capability(device)[0] >= 9 else "ampere"
    return table.get(f"{precision} {chip}", table[precision])


def _launch(
    kernel: Any, grid: int, tensors: tuple[Tensor, ...], sizes: tuple[int, ...], choice: Any
) -> None:
    """Run `grid` programs. Offsets inside a tile are 64-bit where a tensor asks for it."""
    blocks, warps, stages = choice
    x = next(t for t in tensors if t.is_floating_point())
    double = x.dtype == torch.float64
    wide = any(sum((n - 1) * s for n, s in zip(t.shape, t.stride())) >= 2**31 for t in tensors)
    hip = torch.version.hip is not None
    run = kernel if _INTERPRET else torch.library.wrap_triton(kernel)
    run[(grid,)](
        *tensors,
        *(stride for t in tensors for stride in t.stride()),
        *sizes,
        MODE=2 if double else 1 if _INTERPRET or x.dtype == torch.float32 else 0,
        WIDE=wide,
        PREC="ieee" if double or hip or x.dtype != torch.float32 else "tf32x3",
        **blocks,
        num_warps=warps,
        num_stages=1 if hip else stages,
    )


def _operator(
    name: str, schema: str, run: Callable[..., Any], fake: Callable[..., Any]
) -> Callable[..., Any]:
    """Register `run` once under this file's namespace: a triton_op, or a custom_op to interpret."""
    if triton is None:
        return run
    space = f"{_NAMESPACE}_{'interpreted' if _INTERPRET else 'kernels'}"
    if not hasattr(getattr(torch.ops, space), name):
        if _INTERPRET:
            made = torch.library.custom_op(f"{space}::{name}", run, mutates_args=(), schema=schema)
            made.register_fake(fake)
        else:
            torch.library.triton_op(f"{space}::{name}", run, mutates_args=(), schema=schema)
    operator: Callable[..., Any] = getattr(getattr(torch.ops, space), name)
    return operator


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def _differentiable(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None,
    plain: Callable[..., Any],
    results: int,
    extras: int = 0,
) -> type[torch.autograd.Function]:
    """A function of tensors and then sizes. `forward` gives the results and `extras` that
    `backward` reads: it takes the tensors, all that forward gave, gradients of the results, sizes.

    A second derivative is that of `plain`, which computes the results in torch, and so is vmap.
    """

    class Kernels(torch.autograd.Function):
        @staticmethod
        def forward(*args: Any) -> tuple[Tensor, ...]:
            return _tuple(forward(*args))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
            ctx.count = sum(1 for x in inputs if isinstance(x, Tensor))
            ctx.sizes = inputs[ctx.count :]
            ctx.save_for_backward(*inputs[: ctx.count], *output)
            ctx.mark_non_differentiable(*output[results:])

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
            tensors, made = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
            none = (None,) * len(ctx.sizes)
            if backward is None or torch.is_grad_enabled():
                return (*_pulled_back(plain, tensors, ctx.sizes, grads[:results]), *none)
            found = backward(*tensors, *made, *grads[:results], *ctx.sizes)
            return (*_tuple(found), *none)

        @staticmethod
        def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
            made = _tuple(torch.vmap(plain, in_dims, randomness=info.randomness)(*args))
            rest = [made[0].new_empty(info.batch_size)] * extras
            return (*made, *rest), (0,) * (len(made) + len(rest))

    return Kernels


def _pulled_back(
    plain: Callable[..., Any],
    tensors: tuple[Tensor, ...],
    sizes: tuple[int, ...],
    grads: tuple[Tensor, ...],
) -> list[Tensor | None]:
    """Gradients by torch, themselves differentiable."""
    real = [k for k, x in enumerate(tensors) if x.is_floating_point()]

    def of(*leaves: Tensor) -> tuple[Tensor, ...]:
        given = list(tensors)
        for k, leaf in zip(real, leaves):
            given[k] = leaf
        return _tuple(plain(*given, *sizes))

    with sdpa_kernel(SDPBackend.MATH):  # the fused ones have no second derivative
        _, pull = torch.func.vjp(of, *(tensors[k] for k in real))
    found = dict(zip(real, pull(grads)))
    return [found.get(k) for k in range(len(tensors))]


def _row_choice(lanes: int, rows: bool) -> Any:
    """A tile for rows whose length only the call knows."""
    for block in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192):
        if lanes <= block:
            break
    warps = 4 if block <= 2048 else 8 if block <= 4096 else 16
    blocks = {"BR": max(1, 2048 // block), "BL": block} if rows else {"BL": block}
    return blocks, warps, 1
'''
