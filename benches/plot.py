"""Draw the figures of `benches.compare --json FILE` as bars on a log scale.

python -m benches.plot FILE docs/benchmarks.svg
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

COLOURS = {"raw": "#9aa5b1", "rustalchemy": "#c2410c", "sqlalchemy": "#1f6f8b"}
LABELS = {"raw": "raw DB-API", "rustalchemy": "rustalchemy", "sqlalchemy": "SQLAlchemy ORM"}
LEFT, WIDTH, BAR, GAP, TOP = 190, 620, 9, 10, 46


def draw(data: dict[str, Any]) -> str:
    """The SVG of one measurement."""
    rows = data["rows"]
    values = [row[c] for row in rows for c in COLOURS]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def x(value: float) -> float:
        return LEFT + (math.log10(value) - low) / (high - low) * WIDTH

    step = BAR * len(COLOURS) + GAP
    height = TOP + step * len(rows) + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 90}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{LEFT}" y="16">CPU microseconds per unit, log scale</text>',
    ]
    for n, (contender, colour) in enumerate(COLOURS.items()):
        out.append(f'<rect x="{LEFT + 260 + n * 130}" y="7" width="10" height="10" fill="{colour}"/>')
        out.append(f'<text x="{LEFT + 275 + n * 130}" y="16">{LABELS[contender]}</text>')
    for power in range(low, high + 1):
        at = x(10.0**power)
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8}" y2="{height - 30}" stroke="#ddd"/>')
        out.append(f'<text x="{at:.1f}" y="{height - 14}" text-anchor="middle">{10.0**power:g}</text>')
    for n, row in enumerate(rows):
        y = TOP + n * step
        out.append(f'<text x="{LEFT - 8}" y="{y + 18}" text-anchor="end">{escape(row["name"])}</text>')
        for i, (contender, colour) in enumerate(COLOURS.items()):
            end = x(row[contender])
            out.append(
                f'<rect x="{LEFT}" y="{y + i * BAR}" width="{max(end - LEFT, 1):.1f}" '
                f'height="{BAR - 1}" fill="{colour}"/>'
            )
            out.append(f'<text x="{end + 4:.1f}" y="{y + i * BAR + 8}" font-size="9">{row[contender]:.3g}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(json.loads(Path(sys.argv[1]).read_text())))
