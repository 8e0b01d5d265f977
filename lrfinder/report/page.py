"""The page of `lrfinder report`: one HTML file that needs nothing else, made of the records by the templates beside it.

Whatever a run folder says is text of strangers: the template escapes all of it, also within the pictures.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lrfinder.config import format_schedule
from lrfinder.formatting import format_count, format_interval, format_loss, format_lr, quoted
from lrfinder.options import STOP_TEXT
from lrfinder.records import Spacing, Status
from lrfinder.report.figure import headline, judged_by, subtitle, trial_runs
from lrfinder.report.overlay import overlay_of
from lrfinder.report.schedule import describe, key_updates
from lrfinder.report.svg import curve_view, overlay_view, schedule_view, trials_view
from lrfinder.report.verification import best_losses
from lrfinder.rules import FIT_RULES
from lrfinder.rules.trials import TRIALS_RULE
from lrfinder.version import CREATED_BY

if TYPE_CHECKING:
    from lrfinder.advice.answer import RunAnswer
    from lrfinder.advice.comparison import Comparison
    from lrfinder.config import ScheduleConfig

TEMPLATES: Final = Path(__file__).parent / "templates"
MOST_POINTS = 1500  # of all runs of a page: more make it slow to load, and show no more
FEWEST_POINTS = 100
LINE_UPDATES = 120  # at which a schedule is drawn


def report_page(runs: Sequence[RunAnswer], comparison: Comparison | None = None) -> str:
    """Return the page of one run, or of several with their comparison first."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"lr": format_lr, "loss": format_loss, "count": format_count, "sentence": _sentence}
    environment.globals |= {"interval": format_interval, "stop_text": STOP_TEXT}
    own = {name: (TEMPLATES / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    most = max(MOST_POINTS // len(runs), FEWEST_POINTS)
    return environment.get_template("page.html").render(
        title="Learning rates compared" if comparison is not None else f"Learning rate of {headline(runs[0].result)}",
        runs=[_view(run, most) for run in runs],
        comparison=comparison,
        overlay=None if comparison is None else overlay_view(overlay_of(comparison)),
        css=Markup(own["css"]),  # noqa: S704 - our own files
        js=Markup(own["js"]),  # noqa: S704
        css_digest=_digest(own["css"]),
        js_digest=_digest(own["js"]),
        created_by=CREATED_BY,
    )


def _sentence(text: str) -> str:
    """Return a reason, which may stand in a sentence, as a sentence."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def _digest(text: str) -> str:
    """Return what the page's own policy allows: this text, and nothing that a stranger's text might smuggle in."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _view(run: RunAnswer, most_points: int) -> dict[str, Any]:
    """Return what the template needs of a run."""
    result, advice, pick = run.result, run.advice, run.pick
    spacing = result.settings.spacing
    curve = curve_view(run.chart, most_points)
    own = [each for each in advice.picks if each is pick or each.rule in {TRIALS_RULE, *FIT_RULES}]
    return {
        "run": run,
        "result": result,
        "advice": advice,
        "pick": pick,
        "sure": pick.status is Status.CONFIDENT,
        "headline": headline(result),
        "subtitle": subtitle(result),
        "curve": curve,
        "band": advice.band,
        "fit": [] if advice.fit is None else _half_decades(advice.fit),
        "trials_title": trial_runs(result),
        "trials": trials_view(result.runs, spacing, pick, advice.band, None if curve is None else curve["plot"]),
        "judged_by": judged_by(result.runs),
        "best": best_losses(result.runs),
        "verified": trials_view(run.trials, Spacing.EXP, pick, advice.band),
        "verified_by": judged_by(run.trials),
        "best_verified": best_losses(run.trials),
        "schedule": None if advice.schedule is None else _schedule(advice.schedule),
        "use": None if run.config is None else quoted(run.config),
        "own_picks": own,
        "other_picks": [each for each in advice.picks if each not in own],
        "settings": _settings(run),
    }


def _half_decades(fit: Any) -> list[tuple[float, float, float, float]]:
    """Return the fit in numbers, for those who can't see it: rate, loss and its bounds, twice a decade."""
    rows = list(zip(fit.lrs, fit.losses, fit.low, fit.high, strict=True))
    return rows[::25] + ([] if (len(rows) - 1) % 25 == 0 else rows[-1:])


def _schedule(config: ScheduleConfig) -> dict[str, Any]:
    last = config.steps - 1
    drawn = sorted({round(last * i / (LINE_UPDATES - 1)) for i in range(LINE_UPDATES)} | set(key_updates([config])))
    return {
        "text": describe(config),
        "view": schedule_view([(t, config.rate(t)) for t in drawn], last),
        "table": [(t, config.rate(t), config.schedule.factor(t)) for t in key_updates([config])],
        "yaml": format_schedule(config, suffix=".yaml"),
    }


def _settings(run: RunAnswer) -> Mapping[str, Mapping[str, object]]:
    """Return all that run.json says of how the sweep was made, in groups."""
    setup = asdict(run.result.setup)
    optimizer = setup.pop("optimizer")
    environment = {key: setup.pop(key) for key in ("device", "torch", "python", "lrfinder", "graph")}
    return {
        "Model and data": {"model file": run.model_file, "its SHA-256": run.model_sha256, **setup},
        "Optimizer": {**optimizer.pop("settings"), **optimizer},
        "Sweep": asdict(run.result.settings),
        "Update": asdict(run.training),
        "Environment": environment,
    }
