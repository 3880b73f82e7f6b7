"""The tutorial's eager listings are PyTorch programs: only their imports differ."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.peers

TUTORIAL = Path(__file__).parent.parent / "examples" / "tutorial"


@pytest.mark.parametrize("path", sorted(TUTORIAL.glob("listing_*_eager.py")), ids=lambda p: p.stem)
def test_listing_runs_in_pytorch(path: Path, tmp_path: Path) -> None:
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"(import|from) ", line):
            line = line.replace("staticgrad.eager", "torch").replace("staticgrad", "torch")
            lines[number] = "import torch" if line == "import torch as torch" else line
    assert "staticgrad" not in "\n".join(lines)
    script = tmp_path / path.name
    script.write_text("\n".join(lines))
    subprocess.run([sys.executable, str(script)], check=True, capture_output=True, timeout=120)
