"""The package of docs/extending.md, its files as printed there, found by its entry points."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "extending.md").read_text()
FILE = re.compile(r"^```python\n# (tensorlang_extras/\w+\.py)\n(.*?)^```", re.M | re.S)
POINTS = re.compile(r"^```text\n(\[project\.entry-points.*?)^```", re.M | re.S)
LAYER = re.compile(r"^```text\n(layer (?:Extra|Cosines).*?)^```", re.M | re.S)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the package and its metadata, as pip would leave them."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "tensorlang_extras").mkdir()
    (folder / "tensorlang_extras" / "__init__.py").touch()
    for name, text in FILE.findall(PAGE):
        (folder / name).write_text(text)
    metadata = folder / "tensorlang_extras-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tensorlang_extras\nVersion: 1\n"
    )
    (points,) = POINTS.findall(PAGE)
    points = re.sub(r'\[project\.entry-points\."(.*?)"\]', r"[\1]", points).replace('"', "")
    (metadata / "entry_points.txt").write_text(points)
    extra, cosines = LAYER.findall(PAGE)
    (folder / "extra.tl").write_text(extra)
    (folder / "cosines.tl").write_text(cosines)
    return folder


def _run(package: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=package, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_the_files(package: Path) -> None:
    names = {path.name for path in (package / "tensorlang_extras").glob("*.py")}
    assert names == {"__init__.py", "mish.py", "lecun.py", "dct.py", "outline.py", "svd.py"}


def test_the_function_and_the_initialiser_work_in_every_target(package: Path) -> None:
    checked = """
import torch, tensorlang as tl
from tensorlang.verification import verify
report = verify("extra.tl", bind={"d": 3, "f": 5})
assert report.ok, str(report)
assert [f.target for f in report.findings] == ["torch", "torch", "triton", "triton"]
layer = tl.load("extra.tl").Extra(d=400, f=300)
print(float(layer.W.detach().std()))
"""
    assert float(_run(package, "-c", checked)) == pytest.approx(2 * 400**-0.5, rel=0.02)


def test_the_derivative_of_the_function_is_that_of_torch(package: Path) -> None:
    checked = """
import numpy as np, torch
from pathlib import Path
import tensorlang as tl
from tensorlang import registry
row = registry.functions()["mish"]
Path("slope.tl").write_text(
    "layer S():\\n    input x[n]\\n    output Y[n] = " + row.derivative[0] + "\\n")
x = torch.linspace(-20, 20, 41, dtype=torch.float64, requires_grad=True)
torch.nn.functional.mish(x).sum().backward()
np.testing.assert_allclose(tl.reference(tl.load("slope.tl").S())(x.detach()), x.grad, atol=1e-12)
"""
    _run(package, "-c", checked)


def test_the_constant_is_known_to_the_language_and_its_checks(package: Path) -> None:
    checked = """
import numpy as np, pytest, torch
from pathlib import Path
import tensorlang as tl
from tensorlang.verification import verify
report = verify("cosines.tl", bind={"n": 9, "k": 4})
assert report.ok, str(report)
module = tl.load("cosines.tl")
x = torch.randn(5, 9, dtype=torch.float64)
torch.testing.assert_close(module.Cosines(n=9, k=9, dtype=torch.float64)(x), x)  # orthogonal
smooth = module.Cosines(n=9, k=1, dtype=torch.float64)(x)
torch.testing.assert_close(smooth, x.mean(-1, keepdim=True).expand_as(x))
text = Path("cosines.tl").read_text().replace("dct(k, n)", "dct(k, n, scale = 2)")
Path("scaled.tl").write_text(text)
torch.testing.assert_close(tl.load("scaled.tl").Cosines(n=9, k=9, dtype=torch.float64)(x), 4 * x)
with pytest.raises(tl.SpecError, match="no more modes than cells, here 5 for 3"):
    module.Cosines(n=3, k=5)
"""
    _run(package, "-c", checked)


def test_the_factorisation_is_a_clause_of_the_language(package: Path) -> None:
    checked = """
import numpy as np, torch
from pathlib import Path
import tensorlang as tl
Path("spectral.tl").write_text(
    "layer Spectral():\\n    dim o = 30, i = 40\\n    input X[n, i]\\n"
    "    param W[o, i] ~ normal(std = 0.5) as svd(rank = 20)\\n    output Y[n, o] = X * W\\n")
torch.manual_seed(0)
layer = tl.load("spectral.tl").Spectral(dtype=torch.float64)
assert list(layer.state_dict()) == ["W.values", "W.left", "W.right"]
x = torch.eye(40, dtype=torch.float64)
np.testing.assert_allclose(layer(x).detach(), tl.reference(layer)(x), atol=1e-12)
dense = torch.nn.Linear(40, 30, bias=False, dtype=torch.float64)
made = tl.factorise(dense, "svd", rank=30)
torch.testing.assert_close(made(x), dense(x))
assert tl.factorise(dense, "svd", tol=0.3).factorisations["weight"].error < 0.3
squares = []
for _ in range(50):
    layer.reset_parameters()
    squares.append(layer(x).detach().square().mean())
print(float(torch.stack(squares).mean().sqrt()))
"""
    assert float(_run(package, "-c", checked)) == pytest.approx(0.5, rel=0.05)


def test_the_target_is_found_by_its_name(package: Path) -> None:
    printed = _run(
        package, "-m", "tensorlang", "compile", "extra.tl", "--target", "outline", "-o", "-"
    )
    assert "# Extra" in printed
    assert "- `Y` [..., 32] from" in printed
    assert "target='outline'" in printed
