"""What a measurement yields, and how it is shown and kept."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Figure:
    """Samples in seconds under one name; `floor` names the figure it is compared with, `goal` is in seconds."""

    name: str
    samples: Sequence[float]
    floor: str = ""
    goal: float | None = None
    note: str = ""

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.samples)

    @property
    def p95(self) -> float:
        """The value 95 of 100 samples stay below."""
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


@dataclass(slots=True)
class Report:
    """All figures of a run."""

    figures: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> Figure:
        """Keep a figure."""
        self.figures.append(figure)
        return figure

    def table(self) -> str:
        """Aligned text: each figure beside its floor, its ratio to it and its goal."""
        known = {figure.name: figure for figure in self.figures}
        rows = [("figure", "p50 ms", "p95 ms", "n", "x floor", "goal ms", "")]
        for figure in self.figures:
            floor = known.get(figure.floor)
            ratio = f"{figure.p50 / floor.p50:.1f}" if floor else ""
            goal = f"{figure.goal * 1000:.0f}" if figure.goal else ""
            met = "" if figure.goal is None else "met" if figure.p50 <= figure.goal else "MISSED"
            milliseconds = f"{figure.p50 * 1000:.1f}", f"{figure.p95 * 1000:.1f}"
            rows.append((figure.name, *milliseconds, str(len(figure.samples)), ratio, goal, met))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            "  ".join(t.ljust(w) if i == 0 else t.rjust(w) for i, (t, w) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]
        return "\n".join(lines)

    def save(self, path: Path) -> None:
        """The figures and the machine's kind as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        figures = [
            {
                "name": f.name,
                "p50_ms": f.p50 * 1000,
                "p95_ms": f.p95 * 1000,
                "samples_ms": [s * 1000 for s in f.samples],
                "floor": f.floor,
                "goal_ms": f.goal and f.goal * 1000,
            }
            for f in self.figures
        ]
        machine = {"system": platform.system(), "release": platform.release(), "python": platform.python_version()}
        path.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")
