"""From a sweep's numbers to advice: refuse or pick, then plan the run's schedule; and judge a rate that is in use."""

from lrfinder.advice.advise import Advice, Request, advise
from lrfinder.advice.verdict import CheckResult, check_rate, settings_around

__all__ = ["Advice", "CheckResult", "Request", "advise", "check_rate", "settings_around"]
