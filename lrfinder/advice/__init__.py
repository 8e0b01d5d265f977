"""From a sweep's numbers to advice: refuse or pick, then plan the run's schedule; and judge a rate that is in use."""

from lrfinder.advice.advise import Advice, Request, advise
from lrfinder.advice.document import to_json
from lrfinder.advice.verdict import Verdict, judge, sweep_around

__all__ = ["Advice", "Request", "Verdict", "advise", "judge", "sweep_around", "to_json"]
