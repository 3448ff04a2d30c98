"""Text that a module with K3 regions carries: how multilinear forms are differentiated."""

MULTILINEAR = '''\
def _multilinear(
    form: Callable[..., Any], gradients: Callable[..., Any], count: int
) -> Callable[..., Tensor]:
    """The form of its first `count` arguments, linear in each; positions and sizes follow.

    `gradients` takes the gradient of the result before the sizes. Every derivative of both is made
    of both, of other operands.
    """

    class Form(torch.autograd.Function):
        @staticmethod
        def forward(*args: Any) -> Tensor:
            return form(*args)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
            _saved(ctx, inputs)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
            tensors = ctx.saved_tensors
            once = torch.compiler.is_compiling() or not torch.is_grad_enabled()
            found = _tuple((gradients if once else Gradients.apply)(*tensors, g, *ctx.sizes))
            return (*found, *(None,) * (len(tensors) + len(ctx.sizes) - count))

        @staticmethod
        def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
            return torch.stack(_one_by_one(Form, info, in_dims, args)), 0

    class Gradients(torch.autograd.Function):
        @staticmethod
        def forward(*args: Any) -> tuple[Tensor, ...]:
            return _tuple(gradients(*args))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.set_materialize_grads(False)
            _saved(ctx, inputs)

        @staticmethod
        def backward(ctx: Any, *given: Tensor | None) -> tuple[Any, ...]:
            *tensors, g = ctx.saved_tensors
            found: list[Tensor | None] = [None] * count
            total = None
            for k, a in enumerate(given):
                if a is None:
                    continue
                other = [*tensors[:k], a, *tensors[k + 1 :]]
                if ctx.needs_input_grad[len(tensors)]:
                    total = _plus(total, Form.apply(*other, *ctx.sizes))
                if any(ctx.needs_input_grad[j] for j in range(count) if j != k):
                    for j, d in enumerate(Gradients.apply(*other, g, *ctx.sizes)):
                        found[j] = found[j] if j == k else _plus(found[j], d)
            positions = (None,) * (len(tensors) - count)
            return (*found, *positions, total, *(None,) * len(ctx.sizes))

        @staticmethod
        def vmap(info: Any, in_dims: Any, *args: Any) -> tuple[Any, Any]:
            rows = _one_by_one(Gradients, info, in_dims, args)
            return tuple(torch.stack(each) for each in zip(*rows)), (0,) * count

    return lambda *args: Form.apply(*args)


def _landings(positions: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """The points in the order of the rows that they land in, and where those of each row start."""
    order = positions.argsort(stable=True)
    ends = torch.arange(rows + 1, device=positions.device)
    return order, torch.searchsorted(positions[order], ends)


def _saved(ctx: Any, inputs: tuple[Any, ...]) -> None:
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    ctx.sizes = inputs[len(tensors) :]
    ctx.save_for_backward(*tensors)


def _plus(a: Tensor | None, b: Tensor) -> Tensor:
    return b if a is None else a + b


def _one_by_one(function: Any, info: Any, in_dims: Any, args: tuple[Any, ...]) -> list[Any]:
    """A function at every position of the axis that vmap maps over."""
    return [
        function.apply(*(x if d is None else x.select(d, k) for x, d in zip(args, in_dims)))
        for k in range(info.batch_size)
    ]
'''
