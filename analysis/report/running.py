"""The running trials in the watched report: a line for each, with its curve so far."""

import math
from collections.abc import Sequence

from analysis.warehouse.live import Live
from sweep.arms import place, short
from sweep.foreign import html

# The most trials that are listed, and the size of a curve in pixels.
_LISTED = 100
_WIDTH, _HEIGHT = 160, 28


def section(trials: Sequence[Live]) -> str:
    """The running trials as HTML; "" if there are none."""
    if not trials:
        return ""
    lines = "".join(map(_line, trials[:_LISTED]))
    more = f"<p>and {len(trials) - _LISTED:,} more</p>" if len(trials) > _LISTED else ""
    return (
        "<h2>Running now</h2><p>No results: these trials are in no other number of this page.</p>"
        '<div class="scroll" tabindex="0"><table><thead><tr><th scope=col>trial</th><th scope=col>epoch</th>'
        "<th scope=col>latest on validation data</th><th scope=col>curve</th><th scope=col></th></tr></thead>"
        f"<tbody>{lines}</tbody></table></div>{more}"
    )


def _line(trial: Live) -> str:
    config = trial.config
    words = [short(config), *(f"{name} {config[name]}" for name in ("sparsity", "seed") if name in config)]
    name = f"{trial.study}: {place(config)}: {' '.join(words)} ({trial.trial_id})"
    values = [value for value in trial.curve if math.isfinite(value)]
    latest = f"{trial.headline} {values[-1]:.4f}" if values else ""
    silent = f"silent for {trial.age / 60:.0f} min" if trial.silent else ""
    cells = (f"{trial.done:.4g} of {trial.epochs:.4g}", latest)
    return (
        f"<tr><th scope=row>{html(name)}</th>"
        + "".join(f"<td>{html(cell)}</td>" for cell in cells)
        + f"<td>{_curve(values)}</td><td>{silent}</td></tr>"
    )


def _curve(values: Sequence[float]) -> str:
    """A line through values, from the lowest to the highest."""
    if len(values) < 2:
        return ""
    low, range_ = min(values), (max(values) - min(values)) or 1.0
    points = " ".join(
        f"{number / (len(values) - 1) * _WIDTH:.1f},{(1 - (value - low) / range_) * (_HEIGHT - 4) + 2:.1f}"
        for number, value in enumerate(values)
    )
    said = f"from {values[0]:.4f} to {values[-1]:.4f}, highest {max(values):.4f}"
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{said}"><title>{said}</title>'
        f'<polyline points="{points}" fill="none" stroke="currentColor"/></svg>'
    )
