"""Write the generated code of all models of the gallery.

    python examples/gallery/make.py            writes examples/gallery/generated/
    python examples/gallery/make.py --check    compares; exit code 1 where a file is not current
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from models import MODELS, compiled

FOLDER = Path(__file__).parent / "generated"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--check", action="store_true", help="compare instead of writing")
    check = options.parse_args().check
    FOLDER.mkdir(exist_ok=True)
    outdated = 0
    for model in MODELS:
        path = FOLDER / f"{model.__name__}.py"
        source = compiled(model).source
        if not check:
            path.write_text(source, encoding="utf-8")
            print(f"{path.name}: {len(source.splitlines())} lines")
            continue
        kept = path.read_text(encoding="utf-8") if path.exists() else ""
        if kept != source:
            outdated += 1
            lines = difflib.unified_diff(kept.splitlines(), source.splitlines(), path.name, "now")
            print("\n".join(lines))
    if outdated:
        print(f"{outdated} files are not current: python examples/gallery/make.py", file=sys.stderr)
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
