"""Run `flights.py` as it stands, then with its import changed to `sqlalchemy.orm`, and compare the phases."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = Path(__file__).with_name("flights.py")


def run(program: Path, folder: Path, rows: int | None) -> dict[str, float]:
    """Seconds by phase of one run of the program, in a process of its own."""
    times = folder / f"{program.stem}.json"
    command = [sys.executable, str(program), "--database", str(folder / f"{program.stem}.sqlite")]
    command += ["--times", str(times)]
    if rows is not None:
        command += ["--rows", str(rows)]
    subprocess.run(command, check=True)
    seconds: dict[str, float] = json.loads(times.read_text())
    return seconds


def main() -> None:
    """Both runs, then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, metavar="N", help="only the first N flights")
    opts = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flights-") as name:
        folder = Path(name)
        print("=== from rustalchemy.orm import ...", flush=True)
        ours = run(PROGRAM, folder, opts.rows)
        twin = folder / "flights_sqlalchemy.py"
        twin.write_text(PROGRAM.read_text().replace("from rustalchemy.orm import", "from sqlalchemy.orm import"))
        print("\n=== from sqlalchemy.orm import ...", flush=True)
        theirs = run(twin, folder, opts.rows)
    print(f"\n{'phase':<22}{'rustalchemy':>13}{'SQLAlchemy':>13}{'ratio':>9}")
    ours["total"], theirs["total"] = sum(ours.values()), sum(theirs.values())
    for phase, seconds in ours.items():
        print(f"{phase:<22}{seconds:>11.2f} s{theirs[phase]:>11.2f} s{theirs[phase] / seconds:>8.1f}×")


if __name__ == "__main__":
    main()
