"""Functions that emitted files may need, as text; each is printed once, where it is called."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from tensorlang.backends.torch.given import CHECK
from tensorlang.backends.torch.weights import KEEPS, KEPT

FUNCTIONS: dict[str, str] = {
    "_check_shape": '''
def _check_shape(name: str, shape: torch.Size, expected: tuple) -> None:
    """Raise ValueError unless the sizes are as expected of `Layer: X[b, n]`.

    Expected of an axis: a size that the layer fixes, (size, where it comes from), or None for any.
    """
    axes = [axis for axis in name[name.index("[") + 1 : -1].split(", ") if axis]
    extra = len(shape) - len(axes)
    found = list(shape)
    if "..." in axes:
        at = axes.index("...")
        found[at : at + extra + 1] = [list(shape[at : at + extra + 1])]
    if len(found) != len(axes) or extra < -1:
        least = f"at least {len(axes) - 1}" if "..." in axes else len(axes)
        raise ValueError(f"{name} has {least} axes, not {len(shape)}")
    for axis, size, wanted in zip(axes, found, expected, strict=True):
        wanted, origin = wanted if isinstance(wanted, tuple) else (wanted, "the layer")
        if wanted is not None and size != wanted:
            what = "the batch axes have sizes" if axis == "..." else f"index {axis} has size"
            raise ValueError(f"{name}: {what} {size}, but {wanted} in {origin}")
''',
    "_check_dim": '''
def _check_dim(layer: str, name: str, size: int) -> None:
    """Raise ValueError for a computed size below 1."""
    if size < 1:
        raise ValueError(f"{layer}: dim {name} is {size} for these inputs, it must be at least 1")
''',
    "_check_index": '''
def _check_index(index: Tensor, size: int, name: str, axis: str) -> None:
    """Raise IndexError for the first index outside 0 … size-1; traced or on a GPU, assert."""
    if index.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name} gives positions on {axis}: they are int64, not {index.dtype}")
    traced = torch.compiler.is_compiling()
    if not traced and torch._C._functorch.is_functorch_wrapped_tensor(index):
        return
    inside = (index >= 0) & (index < size)
    if traced or index.device.type != "cpu":
        torch._assert_async(inside.all(), f"{name} is out of range for {axis}")
    elif not inside.all():
        value = int(index[~inside][0])
        raise IndexError(f"{name} has the index {value}, out of range for {axis} of size {size}")
''',
    "_check_room": '''
def _check_room(index: Tensor, size: int, boundary: str, axis: str) -> None:
    """Raise ValueError where positions are to be brought inside an empty axis."""
    if size == 0 and index.numel() > 0:
        raise ValueError(f"{boundary} has nowhere to go: {axis} is empty")
''',
    "_no_windows": '''
def _no_windows(shape: tuple[int, ...], *read: Tensor) -> Tensor:
    """A result without cells, of these."""
    return sum(x.sum() for x in read).expand(shape)
''',
    "_or_past_end": '''
def _or_past_end(index: Tensor, size: int) -> Tensor:
    """The positions, those outside 0 … size-1 replaced by size."""
    return torch.where((index >= 0) & (index < size), index, size)
''',
    "_reflect": '''
def _reflect(index: Tensor, size: int) -> Tensor:
    """The positions mirrored at both ends without repeating them."""
    period = max(2 * size - 2, 1)
    index = index % period
    return torch.minimum(index, period - index)
''',
    "_amax": '''
def _amax(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """The maximum over axes, -inf over no cell; ties share the gradient evenly."""
    if any(x.shape[axis] == 0 for axis in ((axes,) if isinstance(axes, int) else axes)):
        lowest = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
        return x.sum(axes, dtype=x.dtype).fill_(lowest)
    return x.amax(axes)
''',
    "_amin": '''
def _amin(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """The minimum over axes, inf over no cell; ties share the gradient evenly."""
    if any(x.shape[axis] == 0 for axis in ((axes,) if isinstance(axes, int) else axes)):
        highest = torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).max
        return x.sum(axes, dtype=x.dtype).fill_(highest)
    return x.amin(axes)
''',
    "_logsumexp": '''
def _logsumexp(x: Tensor, axes: int | tuple[int, ...]) -> Tensor:
    """logsumexp, where a row of -inf alone is -inf without derivatives of any order."""
    out = x.logsumexp(axes)
    return out.masked_fill(out == -torch.inf, -torch.inf)
''',
    "_argmax": '''
def _argmax(x: Tensor, axis: int) -> Tensor:
    """The first position of the maximum, 0 over no cell."""
    if x.shape[axis] == 0:
        return x.sum(axis).new_zeros((), dtype=torch.int64).expand(x.sum(axis).shape)
    return x.argmax(axis)
''',
    "_argmin": '''
def _argmin(x: Tensor, axis: int) -> Tensor:
    """The first position of the minimum, 0 over no cell."""
    if x.shape[axis] == 0:
        return x.sum(axis).new_zeros((), dtype=torch.int64).expand(x.sum(axis).shape)
    return x.argmin(axis)
''',
    "_complex_dtype": '''
def _complex_dtype(dtype: torch.dtype) -> torch.dtype:
    """The complex partner of a real dtype; half precisions go with complex64."""
    return torch.complex128 if dtype == torch.float64 else torch.complex64
''',
    "_real_dtype": '''
def _real_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of the parts of a complex number."""
    return torch.float64 if dtype == torch.complex128 else torch.float32
''',
    "_seed": '''
def _seed() -> int:
    """One draw from torch's default generator."""
    return int(torch.randint(2**62, (), device="cpu"))
''',
    "_normal": '''
def _normal(param: Tensor, seed: int, mean: float, std: float) -> None:
    """Draw on the CPU in float64, so that device and dtype make no difference."""
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.complex128 if param.is_complex() else torch.float64
    value = torch.randn(param.shape, generator=generator, dtype=dtype, device="cpu")
    param.copy_(mean + std * value)
''',
    "_uniform": '''
def _uniform(param: Tensor, seed: int, low: float, high: float) -> None:
    """Draw on the CPU in float64, so that device and dtype make no difference."""
    generator = torch.Generator().manual_seed(seed)
    shape = (*param.shape, 2) if param.is_complex() else param.shape
    value = torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")
    value = low + (high - low) * value
    if param.is_complex():
        middle = (low + high) / 2
        value = middle + torch.view_as_complex(value - middle) / 2**0.5
    param.copy_(value)
''',
    "_orthogonal": '''
def _orthogonal(param: Tensor, seed: int, gain: float) -> None:
    """Orthonormal rows or columns, the first axis against the rest, drawn in float64."""
    generator = torch.Generator().manual_seed(seed)
    rows = param.shape[0] if param.dim() else 1
    dtype = torch.complex128 if param.is_complex() else torch.float64
    shape = (rows, param.numel() // max(rows, 1))
    value = torch.randn(shape, generator=generator, dtype=dtype, device="cpu")
    tall = value if shape[0] >= shape[1] else value.mH
    q, r = torch.linalg.qr(tall)
    phase = torch.sgn(r.diagonal())
    q = q * phase
    param.copy_(gain * (q if shape[0] >= shape[1] else q.mH).reshape(param.shape))
''',
    "_eye": '''
def _eye(param: Tensor, value: float) -> None:
    """`value` where all axes have the same position, else 0."""
    param.zero_()
    cells = torch.arange(min(param.shape), device=param.device)
    param[(cells,) * param.dim()] = value
''',
    "_from_bytes": '''
def _from_bytes(text: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A constant from the base64 text of its bytes."""
    data = bytearray(base64.b64decode(text))
    return torch.frombuffer(data, dtype=dtype).reshape(shape)
''',
    "_hadamard": '''
def _hadamard(n: int) -> Tensor:
    """Sylvester's Hadamard matrix of size n, a power of two."""
    out = torch.ones(1, 1, dtype=torch.float64)
    while len(out) < n:
        out = torch.cat((torch.cat((out, out), 1), torch.cat((out, -out), 1)))
    return out
''',
    "_sparse": '''
def _sparse(
    shape: tuple[int, ...], cells: list[int], values: float | list[float], dtype: torch.dtype
) -> Tensor:
    """A constant that is 0 but for some cells, numbered row-major."""
    out = torch.zeros(math.prod(shape), dtype=dtype)
    out[torch.tensor(cells)] = torch.as_tensor(values, dtype=dtype)
    return out.reshape(shape)
''',
    "_attention_in_blocks": '''
def _attention_in_blocks(name: str, allowed: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An operator for softmax(scale * q @ k.mT) @ v over the keys that `allowed` says.

    q[b, n, c], k[b, m, c], v[b, m, e]. `allowed(rows, sizes, tensors)` gives the mask of some
    queries as [rows, m] or [b, rows, m]. Queries come in blocks, and of the keys those that a block
    sees: the n x m weights are never formed. Rows that see nothing are 0. Opaque to tracing. It has
    first derivatives; where SDPBackend.MATH is asked for, all, by torch's own steps.
    Registered once a process: `name` says what it computes.
    """
    registered: dict[str, Callable[..., Tensor]] = vars(torch).setdefault("_tensorlang_ops", {})
    if name in registered:
        return registered[name]

    def blocks(q: Tensor, k: Tensor) -> list[Tensor]:
        rows = max(1, min(64, 2**22 // max(1, q.shape[0] * k.shape[1])))
        return list(torch.arange(q.shape[1], device=q.device).split(rows))

    def seen(mask: Tensor) -> tuple[Tensor, Tensor | slice]:
        if mask.dim() == 3:
            return mask, slice(None)
        keys = mask.any(0).nonzero().squeeze(1)
        if 2 * len(keys) > mask.shape[1]:
            return mask, slice(None)
        return mask[:, keys], keys

    @torch.library.custom_op(
        name,
        mutates_args=(),
        schema="(Tensor q, Tensor k, Tensor v, Tensor[] tensors, SymInt[] sizes, float scale)"
        " -> (Tensor, Tensor)",
    )
    def forward(q, k, v, tensors, sizes, scale):
        out = v.new_zeros(*q.shape[:2], v.shape[2])
        total = q.new_zeros(q.shape[:2])
        for rows in blocks(q, k):
            mask, keys = seen(allowed(rows, sizes, tensors))
            logits = (scale * (q[:, rows] @ k[:, keys].mT)).masked_fill(~mask, -torch.inf)
            total[:, rows] = logits.logsumexp(-1)
            weights = logits.softmax(-1).masked_fill(~mask, 0.0)
            out[:, rows] = weights @ v[:, keys]
        return out, total

    @forward.register_fake
    def _(q, k, v, tensors, sizes, scale):
        return v.new_empty(*q.shape[:2], v.shape[2]), q.new_empty(q.shape[:2])

    @torch.library.custom_op(
        f"{name}_backward",
        mutates_args=(),
        schema="(Tensor g, Tensor q, Tensor k, Tensor v, Tensor out, Tensor total,"
        " Tensor[] tensors, SymInt[] sizes, float scale) -> (Tensor, Tensor, Tensor)",
    )
    def backward(g, q, k, v, out, total, tensors, sizes, scale):
        dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for rows in blocks(q, k):
            mask, keys = seen(allowed(rows, sizes, tensors))
            logits = scale * (q[:, rows] @ k[:, keys].mT)
            weights = (logits - total[:, rows, None]).exp().masked_fill(~mask, 0.0)
            slope = g[:, rows] @ v[:, keys].mT - (g[:, rows] * out[:, rows]).sum(-1, keepdim=True)
            slope = scale * weights * slope
            dq[:, rows] = slope @ k[:, keys]
            dk[:, keys] += slope.mT @ q[:, rows]
            dv[:, keys] += weights.mT @ g[:, rows]
        return dq, dk, dv

    @backward.register_fake
    def _(g, q, k, v, out, total, tensors, sizes, scale):
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)

    def save(ctx, inputs, output):
        q, k, v, tensors, ctx.sizes, ctx.scale = inputs
        ctx.save_for_backward(q, k, v, *output, *tensors)

    def differentiate(ctx, g, _):
        q, k, v, out, total, *tensors = ctx.saved_tensors
        slopes = backward(g, q, k, v, out, total, tensors, ctx.sizes, ctx.scale)
        return *slopes, [None] * len(tensors), None if ctx.sizes else [], None

    def refuse(ctx, *_):
        raise RuntimeError(
            "to differentiate attention twice, call the layer under"
            " torch.nn.attention.sdpa_kernel(SDPBackend.MATH)"
        )

    forward.register_autograd(differentiate, setup_context=save)
    backward.register_autograd(refuse)
    for op in (forward, backward):
        op.register_vmap(functools.partial(_one_by_one, op))

    def attend(q, k, v, tensors, sizes, scale):
        cuda = torch.backends.cuda  # whose switches are for every device
        if (
            torch.compiler.is_compiling()
            or cuda.flash_sdp_enabled()
            or cuda.mem_efficient_sdp_enabled()
        ):
            return forward(q, k, v, tensors, sizes, scale)[0]
        masks = [(rows, allowed(rows, sizes, tensors)) for rows in blocks(q, k)]
        attended = F.scaled_dot_product_attention
        return torch.cat([attended(q[:, rows], k, v, m, scale=scale) for rows, m in masks], 1)

    registered[name] = attend
    return registered[name]
''',
    "_one_by_one": '''
def _one_by_one(op: Callable[..., tuple], info: object, in_dims: tuple, *args: object) -> tuple:
    """Batch an operator by running it on each sample."""

    def sample(value, dim, k):
        if isinstance(value, (list, tuple)):
            dims = dim if isinstance(dim, (list, tuple)) else [dim] * len(value)
            return [sample(v, d, k) for v, d in zip(value, dims, strict=True)]
        return value if dim is None else value.select(dim, k)

    runs = [
        op(*(sample(value, dim, k) for value, dim in zip(args, in_dims, strict=True)))
        for k in range(info.batch_size)
    ]
    return tuple(torch.stack(parts) for parts in zip(*runs, strict=True)), (0,) * len(runs[0])
''',
}

FUNCTIONS["_keeps"], FUNCTIONS["_kept"] = KEEPS, KEPT
FUNCTIONS["_check_given"] = CHECK
NEEDS: dict[str, tuple[str, ...]] = {
    "_attention_in_blocks": ("_one_by_one",),
    "_kept": ("_keeps",),
}
"""Functions that a printed function calls."""

IMPORTS: dict[str, tuple[str, ...]] = {
    "_kept": ("import weakref", "from collections.abc import Callable"),
    "_check_given": ("import functools",),
    "_attention_in_blocks": ("import functools", "from collections.abc import Callable"),
    "_one_by_one": ("from collections.abc import Callable",),
    "_from_bytes": ("import base64",),
    "_sparse": ("import math",),
}


def definitions(text: str) -> Iterable[str]:
    """The top-level statements of a text, comments before them kept."""
    lines = text.strip("\n").split("\n")
    tree = ast.parse("\n".join(lines))
    end = 0
    for node in tree.body:
        assert node.end_lineno is not None
        yield "\n".join(lines[end : node.end_lineno]).strip("\n")
        end = node.end_lineno
