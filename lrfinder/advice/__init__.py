"""From a sweep's numbers to advice: refuse or pick, then plan the run's schedule; and judge a rate that is in use."""

from lrfinder.advice.advise import Advice, Request, advise
from lrfinder.advice.checks.check import CheckResult, check_rate, settings_around, with_baseline
from lrfinder.advice.sweep.evidence import SweepEvidence, gather_evidence

__all__ = [
    "Advice",
    "CheckResult",
    "Request",
    "SweepEvidence",
    "advise",
    "check_rate",
    "gather_evidence",
    "settings_around",
    "with_baseline",
]
