"""What a measurement yields, and how it is shown and kept."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(slots=True)
class Figure:
    """Samples under one name.

    Attributes:
        samples: seconds, or with the unit "%" shares of one core.
        floor: the name of the figure it is compared with.
        goal: what the median is to stay within, in the samples' unit; `goal_p95` the same for the 95th percentile.
        ratio_goal: what the ratio of the medians to the floor is to stay within.
    """

    name: str
    samples: Sequence[float]
    floor: str = ""
    goal: float | None = None
    goal_p95: float | None = None
    ratio_goal: float | None = None
    unit: Literal["ms", "%"] = "ms"

    @property
    def scale(self) -> float:
        """What turns a sample into its unit."""
        return 1000.0 if self.unit == "ms" else 100.0

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
        rows = [("figure", "p50", "p95", "", "n", "x floor", "goal", "")]
        for figure in self.figures:
            floor = known.get(figure.floor)
            values = f"{figure.p50 * figure.scale:.1f}", f"{figure.p95 * figure.scale:.1f}", figure.unit
            ratio = f"{figure.p50 / floor.p50:.1f}" if floor else ""
            rows.append((figure.name, *values, str(len(figure.samples)), ratio, *_verdict(figure, floor)))
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
                "unit": f.unit,
                "p50": f.p50 * f.scale,
                "p95": f.p95 * f.scale,
                "samples": [s * f.scale for s in f.samples],
                "floor": f.floor,
                "goal": f.goal and f.goal * f.scale,
                "goal_p95": f.goal_p95 and f.goal_p95 * f.scale,
                "ratio_goal": f.ratio_goal,
            }
            for f in self.figures
        ]
        machine = {"system": platform.system(), "release": platform.release(), "python": platform.python_version()}
        path.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")


def _verdict(figure: Figure, floor: Figure | None) -> tuple[str, str]:
    """The goals in words, and whether all of them are met."""
    goals = []
    met = True
    for word, goal, value in (("", figure.goal, figure.p50), ("p95 ", figure.goal_p95, figure.p95)):
        if goal is not None:
            goals.append(f"{word}{goal * figure.scale:.4g}")
            met = met and value <= goal
    if figure.ratio_goal is not None and floor is not None:
        goals.append(f"{figure.ratio_goal:g} x")
        met = met and figure.p50 <= figure.ratio_goal * floor.p50
    return ", ".join(goals), ("met" if met else "MISSED") if goals else ""
