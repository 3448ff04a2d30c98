"""torch's linear, convolution and embedding layers as layers of the language, weight factorised."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import nn

from tensorlang.requests import BadRequest

_BORDERS = {"zeros": "{} else 0", "circular": "wrap({})", "reflect": "reflect({})"}
_BORDERS["replicate"] = "clamp({})"
_GROUPED = ("tt", "tr", "kron")


def layer_text(
    layer: nn.Module, clause: str, shape: tuple[Sequence[int], Sequence[int]] | None
) -> tuple[str, dict[str, torch.Tensor]]:
    """The text of a layer `Factorised`, and the values of its params. TypeError for others."""
    kind = type(layer)
    if shape is not None and kind is not nn.Linear:
        raise BadRequest("shape splits the two axes of an nn.Linear")
    match layer:
        case nn.Linear() if kind is nn.Linear:
            body = _linear(layer, clause, shape)
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d() if kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
            body = _convolution(layer, clause)
        case nn.Embedding() if kind is nn.Embedding:
            if layer.max_norm is not None:
                raise BadRequest("an embedding with max_norm changes its weight at each call")
            body = _embedding(layer, clause)
        case _:
            raise BadRequest(
                f"nn.Linear, nn.Conv1d to Conv3d and nn.Embedding can be factorised, not {kind}"
            )
    values = {"weight": layer.weight.detach()}
    bias = getattr(layer, "bias", None)
    if bias is not None:
        values["bias"] = bias.detach()
    if shape is not None:
        values["weight"] = values["weight"].reshape(prod(shape[0]), prod(shape[1]))
    lines = "".join(f"    {line}\n" for line in body)
    return f"layer Factorised():\n{lines}", values


def _linear(
    layer: nn.Linear, clause: str, shape: tuple[Sequence[int], Sequence[int]] | None
) -> list[str]:
    """Y = X W^T + b."""
    bias = layer.bias is not None
    axes = {"o": "o", "i": "i"}
    dims = f"dim o = {layer.out_features}, i = {layer.in_features}"
    if shape is None and clause.split("(")[0] == "kron":
        shape = (_halves(layer.out_features), _halves(layer.in_features))
    if shape is not None:
        if prod(shape[0]) != layer.out_features or prod(shape[1]) != layer.in_features:
            sizes = f"{layer.out_features} and {layer.in_features}"
            raise BadRequest(f"shape {tuple(shape[0])}, {tuple(shape[1])} does not split {sizes}")
        split = [(f"{name}{k + 1}", n) for name, part in zip("oi", shape, strict=True)
                 for k, n in enumerate(part)]  # fmt: skip
        dims = f"dim {', '.join(f'{name} = {size}' for name, size in split)}"
        for name, part in zip("oi", shape, strict=True):
            names = " ".join(f"{name}{k + 1}" for k in range(len(part)))
            axes[name] = f"({names})" if len(part) > 1 else names
    o, i = axes["o"], axes["i"]
    added = f" + bias[{o}]" if bias else ""
    return [
        dims,
        f"input X[..., {i}]",
        f"param weight[{o}, {i}] ~ given as {clause}",
        *([f"param bias[{o}] ~ given"] if bias else []),
        f"output Y[..., {o}] = X[..., {i}] * weight[{o}, {i}]{added}",
    ]


def _halves(size: int) -> tuple[int, int]:
    """Two factors, as near to each other as they can be."""
    first = next(k for k in range(int(size**0.5), 0, -1) if size % k == 0)
    return size // first, first


def _embedding(layer: nn.Embedding, clause: str) -> list[str]:
    """Y = weight[index]."""
    return [
        f"dim o = {layer.num_embeddings}, i = {layer.embedding_dim}",
        "input token[...]: int",
        f"param weight[o, i] ~ given as {clause}",
        "output Y[..., i] = weight[token[...], i]",
    ]


def _convolution(layer: Any, clause: str) -> list[str]:
    """Y[b, o, p] = X[b, i, stride p + dilation u - padding] weight[o, i, u] + bias[o]."""
    order = len(layer.kernel_size)
    space, out, kernel = ("xyz"[:order], "pqr"[:order], "uvw"[:order])
    groups = layer.groups
    border = _BORDERS[layer.padding_mode]
    sizes = [f"o = {layer.out_channels}", f"i = {layer.in_channels // groups}"]
    sizes += [f"{u} = {size}" for u, size in zip(kernel, layer.kernel_size, strict=True)]
    if groups > 1:
        sizes += [f"g = {groups}", f"c = {layer.out_channels // groups}"]
    reads, outputs = [], []
    for k, (x, p, u) in enumerate(zip(space, out, kernel, strict=True)):
        stride, dilation = layer.stride[k], layer.dilation[k]
        reach = dilation * (layer.kernel_size[k] - 1)
        before, after = _padding(layer.padding, k, reach)
        position = f"{stride} * {p} + {dilation} * {u} - {before}"
        reads.append(border.format(position) if before or after else position)
        outputs.append(f"{p} = ({x} + {before + after} - {reach} - 1) // {stride} + 1")
    channels = "(g i)" if groups > 1 else "i"
    rows = "(g c)" if groups > 1 else "o"
    u = ", ".join(kernel)
    p = ", ".join(out)
    added = f" + bias[{rows}]" if layer.bias is not None else ""
    return [
        f"dim {', '.join(sizes)}",
        f"input X[b, {channels}, {', '.join(space)}]",
        f"dim {', '.join(outputs)}",
        f"param weight[o, i, {u}] ~ given as {clause}",
        *(["param bias[o] ~ given"] if layer.bias is not None else []),
        f"output Y[b, {rows}, {p}] = X[b, {channels}, {', '.join(reads)}]"
        f" * weight[{rows}, i, {u}]{added}",
    ]


def _padding(padding: Any, axis: int, reach: int) -> tuple[int, int]:
    if padding == "valid":
        return 0, 0
    if padding == "same":
        return reach // 2, reach - reach // 2
    return padding[axis], padding[axis]
