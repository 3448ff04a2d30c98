"""Text that every emitted Triton module carries: when kernels run, how they are launched,
registered and differentiated."""

IMPORTS = (
    "import inspect",
    "import os",
    "import warnings",
    "from collections.abc import Callable",
    "from typing import Any",
    "from torch.autograd import forward_ad",
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
    if _transformed():
        return False
    if triton is not None and (x.is_cuda or (_INTERPRET and x.device.type == "cpu")):
        return True
    if not torch.compiler.is_compiling() and not _said:
        why = "Triton is not installed" if triton is None else f"it runs on {x.device.type}"
        _said.append(why)
        warnings.warn(f"the Triton kernels of this module run in plain torch: {why}", stacklevel=3)
    return False


def _transformed() -> bool:
    """Kernels have no forward mode, and torch.compile looks into no transformations of them."""
    inside = torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()
    return inside or forward_ad._current_level >= 0


def _in_torch(plain: Callable[..., Any], *given: Any) -> Any:
    """What kernels compute, by torch; in a form that has all derivatives where they are asked."""
    if not _transformed():
        return plain(*given)
    with sdpa_kernel(SDPBackend.MATH):
        return plain(*given)


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
    return table.get(f"{precision} {_chip(device)}", table[precision])


@torch.compiler.assume_constant_result
def _chip(device: torch.device) -> str:
    if torch.version.hip is not None:
        return "cdna"
    return "hopper" if torch.cuda.get_device_capability(device)[0] >= 9 else "ampere"


def _launch(
    kernel: Any, grid: int, tensors: tuple[Tensor, ...], sizes: tuple[int, ...], choice: Any
) -> None:
    """Run `grid` programs. Offsets inside a tile are 64-bit where a tensor asks for it."""
    blocks, warps, stages = choice
    x = next(t for t in tensors if t.is_floating_point())
    double = x.dtype == torch.float64
    wide = any(_far(sum((n - 1) * s for n, s in zip(t.shape, t.stride()))) for t in tensors)
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


def _far(offset: int) -> bool:
    """Whether an offset may need 64 bits; one that only the run knows may."""
    if isinstance(offset, int):
        return offset >= 2**31
    from torch.fx.experimental.symbolic_shapes import guard_or_true  # imports sympy

    return guard_or_true(offset >= 2**31)


def _operator(
    name: str, schema: str, run: Callable[..., Any], fake: Callable[..., Any]
) -> Callable[..., Any]:
    """Register `run` once under this file's namespace: a triton_op, or a custom_op to interpret."""
    if triton is None:
        return run
    space = f"{_NAMESPACE}_{'interpreted' if _INTERPRET else 'kernels'}"
    if not hasattr(getattr(torch.ops, space), name):
        register = torch.library.custom_op if _INTERPRET else torch.library.triton_op
        made = register(f"{space}::{name}", run, mutates_args=(), schema=schema)
        made.register_fake(fake)  # that of a triton_op would launch, and ask for sizes
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
    reads: bool = True,
) -> type[torch.autograd.Function]:
    """A function of tensors and then sizes. `forward` gives the results and `extras`; `backward`
    takes the tensors, all that forward gave (if it `reads` that), gradients of the results, sizes.

    `plain` computes the results in torch: second derivatives and vmap are those of it.
    """
    kept = results + extras if reads else 0

    def pulled(tensors: Any, grads: Any, sizes: Any) -> list[Tensor | None]:
        return _pulled_back(lambda *xs: _tuple(plain(*xs, *sizes)), tensors, grads)

    class Gradient(torch.autograd.Function):
        """One gradient for every real tensor, as a function of the tensors and `grads`."""

        @staticmethod
        def forward(*args: Any) -> tuple[Tensor, ...]:
            tensors, _, _ = Gradient.parts(args)
            pairs = zip(tensors, backward(*args))
            return tuple(
                torch.zeros_like(x) if d is None else d for x, d in pairs if x.is_floating_point()
            )

        @staticmethod
        def parts(args: tuple[Any, ...]) -> tuple[Any, Any, Any]:
            """Tensors, gradients of the results, sizes."""
            count = sum(1 for x in args if isinstance(x, Tensor))
            tensors = args[: count - kept - results]
            return tensors, args[count - results : count], args[count:]

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
            tensors, grads, ctx.sizes = Gradient.parts(inputs)
            ctx.save_for_backward(*tensors, *grads)

        @staticmethod
        def backward(ctx: Any, *seconds: Tensor) -> tuple[Any, ...]:
            def first(*given: Tensor) -> tuple[Tensor, ...]:
                found = pulled(given[:-results], given[-results:], ctx.sizes)
                return tuple(d for d in found if d is not None)

            found = _pulled_back(first, ctx.saved_tensors, seconds)
            none = (None,) * len(ctx.sizes)
            return (*found[:-results], *(None,) * kept, *found[-results:], *none)

        @staticmethod
        def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
            def one(*given: Any) -> tuple[Tensor, ...]:
                # a gradient may be that of the result as it is, which torch takes for a mistake
                found = pulled(*Gradient.parts(given))
                return tuple(d.view_as(d) for d in found if d is not None)

            made = torch.vmap(one, in_dims, randomness=info.randomness)(*args)
            return made, (0,) * len(made)

    class Kernels(torch.autograd.Function):
        @staticmethod
        def forward(*args: Any) -> tuple[Tensor, ...]:
            return _tuple(forward(*args))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
            ctx.count = sum(1 for x in inputs if isinstance(x, Tensor))
            ctx.sizes = inputs[ctx.count :]
            ctx.save_for_backward(*inputs[: ctx.count], *output[:kept])
            ctx.mark_non_differentiable(*output[results:])

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
            tensors = ctx.saved_tensors[: ctx.count]
            given = (*ctx.saved_tensors, *grads[:results], *ctx.sizes)
            none = (None,) * len(ctx.sizes)
            if backward is None:
                return (*pulled(tensors, grads[:results], ctx.sizes), *none)
            if not torch.is_grad_enabled():
                return (*_tuple(backward(*given)), *none)
            found = iter(Gradient.apply(*given))
            return (*(next(found) if x.is_floating_point() else None for x in tensors), *none)

        @staticmethod
        def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
            made = _tuple(torch.vmap(plain, in_dims, randomness=info.randomness)(*args))
            rest = [made[0].new_empty(info.batch_size)] * extras
            return (*made, *rest), (0,) * (len(made) + len(rest))

    # torch.compile tells by the number of parameters that a forward takes no ctx
    Kernels.forward.__signature__ = inspect.signature(forward)
    return Kernels


def _pulled_back(
    function: Callable[..., tuple[Tensor, ...]],
    given: tuple[Tensor, ...],
    grads: tuple[Tensor, ...],
) -> list[Tensor | None]:
    """Gradients of real tensors by torch, themselves differentiable."""
    real = [k for k, x in enumerate(given) if x.is_floating_point()]

    def of(*leaves: Tensor) -> tuple[Tensor, ...]:
        whole = list(given)
        for k, leaf in zip(real, leaves):
            whole[k] = leaf
        return function(*whole)

    with sdpa_kernel(SDPBackend.MATH):  # the fused ones have no second derivative
        made, pull = torch.func.vjp(of, *(given[k] for k in real))
        pulled = pull(tuple(g.to(y.dtype) for g, y in zip(grads, made)))
    found = dict(zip(real, pulled))
    return [found.get(k) for k in range(len(given))]


def _row_choice(lanes: int, rows: bool) -> Any:
    """A tile for rows whose length only the call knows."""
    for block in (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192):
        if lanes <= block:
            break
    warps = 4 if block <= 2048 else 8 if block <= 4096 else 16
    blocks = {"BR": max(1, 2048 // block), "BL": block} if rows else {"BL": block}
    return blocks, warps, 1


def _fitted(choice: Any, lanes: int) -> Any:
    """A configuration with its tile as long as points are, and as many pairs as fit beside."""
    blocks, warps, stages = choice
    for block in (1, 2, 4, 8, 16, 32):
        if lanes <= block:
            break
    side = {1: 64, 2: 32, 4: 32, 8: 16, 16: 16, 32: 8}[block]
    return {**blocks, "BM": side, "BN": side, "BD": block}, warps, stages
'''
