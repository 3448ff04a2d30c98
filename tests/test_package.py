"""The package as it is shipped: the folders it names, and the wheel, built and used elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_every_folder_of_code_is_a_package_of_the_wheel() -> None:
    named = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    found = {
        ".".join(["tensorlang"] * (top != "tensorlang") + list(path.parent.relative_to(ROOT).parts))
        for top in ("tensorlang", "backends", "grammar")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert named == found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, so that nothing is left in the tree and nothing stale gets in."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for folder in ("tensorlang", "backends", "grammar"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, tree / file)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    done = subprocess.run([*command, str(tree)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_installed_elsewhere_compiles_and_runs(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        names = archive.namelist()
    assert "tensorlang/grammar/tensorlang.lark" in names
    assert "tensorlang/py.typed" in names
    spec = tmp_path / "block.tl"
    spec.write_text(
        "use std: rmsnorm\n\nlayer Block(d = 4):\n    input X[b, d]\n    param g[d] ~ ones\n"
        "    output Y[b, d] = X + rmsnorm[d](X, g)\n"
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import tensorlang as tl, torch; "
        "assert tl.__file__.startswith(sys.argv[1]), tl.__file__; "
        "y = tl.load(sys.argv[2]).Block()(torch.ones(3, 4)); "
        "torch.testing.assert_close(y, torch.full((3, 4), 2.0), atol=1e-5, rtol=0); "
        "tl.compile(sys.argv[2], target='triton').source"
    )
    command = [sys.executable, "-c", code, str(site), str(spec)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
