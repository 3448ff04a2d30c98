"""The peers that benchmarks race against compute what the oracles say."""

from __future__ import annotations

import scipy.linalg
import torch

import tensorlang as tl
from benchmarks import peers
from benchmarks.grassmann import PLAIN
from tests.oracles import attention, grassmann, third_order


def _draw(**shapes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }


def test_axial_peers() -> None:
    P = _draw(Wq=(6, 2, 3), Wk=(6, 2, 3), Wv=(6, 2, 3), Wo=(2, 3, 6))
    x = _draw(x=(2, 4, 5, 6))["x"]
    along_y = attention.self_attention(P, {}, x)
    along_x = attention.self_attention(P, {}, x.transpose(1, 2)).transpose(1, 2)
    for peer in (peers.axial_sdpa, peers.axial_einsum):
        torch.testing.assert_close(peer(P, x, 2, 2), along_y)
        torch.testing.assert_close(peer(P, x, 2, 1), along_x)


def test_third_order_peers() -> None:
    inputs = _draw(**dict.fromkeys("qklvw", (2, 5, 3))).values()
    want = third_order.trilinear({}, {"scale": 1.0}, *inputs)
    for peer in (peers.third_order_sdpa, peers.third_order_einsum):
        torch.testing.assert_close(peer(*inputs), want)


def test_grassmann_peer() -> None:
    P = _draw(Wz=(4, 6), bz=(4,), Wp=(6, 6), bp=(6,))
    h = _draw(h=(2, 7, 6))["h"]
    want = grassmann.mixing(P, {"r": 4, "offsets": [1, 3, 9]}, h)
    torch.testing.assert_close(peers.grassmann_loop(P, h, [1, 3, 9]), want)


def test_grassmann_peer_without_the_norm() -> None:
    made = tl.load(PLAIN).PlainMixing(d=6, r=4, offsets=[1, 3, 9], dtype=torch.float64)
    P = _draw(Wz=(4, 6), bz=(4,), Wp=(6, 6), bp=(6,))
    made.load_state_dict(P)
    h = _draw(h=(2, 7, 6))["h"]
    torch.testing.assert_close(peers.grassmann_loop(P, h, [1, 3, 9], norm=False), made(h))
    torch.testing.assert_close(torch.from_numpy(tl.reference(made)(h)), made(h).detach())


def test_structured_peers() -> None:
    drawn = _draw(x=(3, 8), t=(15,), h=(2, 6, 3), w=(6, 3))
    x, t, h, w = drawn.values()
    weight = torch.stack([torch.stack([t[i - j + 7] for j in range(8)]) for i in range(8)])
    for peer in (peers.toeplitz_gathered, peers.toeplitz_windows, peers.toeplitz_fft):
        torch.testing.assert_close(peer(t, x), x @ weight.mT)
    rows = [sum(h[:, s] * w[t - s] for s in range(t + 1)) for t in range(6)]
    for peer in (peers.long_convolution, peers.long_convolution_fft):
        torch.testing.assert_close(peer(w, h), torch.stack(rows, 1))
    want = x @ torch.from_numpy(scipy.linalg.hadamard(8)).double()
    torch.testing.assert_close(x @ peers.hadamard(8).double(), want)
    torch.testing.assert_close(peers.fast_hadamard(x), want)
