"""Writes helm-values/vessl.schema.json from the code: ``python docs/make_schema.py``; ``--check`` only compares."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from reference_parts.schema import offer_schema

FILE = Path(__file__).resolve().parents[1] / "helm-values" / "vessl.schema.json"


def main(arguments: Sequence[str] | None = None, file: Path = FILE) -> int:
    """Write the file, or with ``--check`` say whether it is as it should be; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write helm-values/vessl.schema.json from the code.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the file is stale")
    check = parser.parse_args(arguments).check
    text = json.dumps(offer_schema(), indent=2, ensure_ascii=False) + "\n"
    if check:
        stale = not file.exists() or file.read_text(encoding="utf-8") != text
        if stale:
            print(f"{file.name} is stale: run python docs/make_schema.py", file=sys.stderr)
        return int(stale)
    file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
