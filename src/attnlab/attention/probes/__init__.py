"""What reads maps off a running model, or changes them: taps, probes and interventions."""

from attnlab.attention.probes.intervention import Intervention
from attnlab.attention.probes.probe import Probe
from attnlab.attention.probes.selectors import Selection, resolve, sites
from attnlab.attention.probes.statistics import Statistics
from attnlab.attention.probes.tap import Tap
from attnlab.attention.probes.unwatched import Unwatched, watched

__all__ = [
    "Intervention",
    "Probe",
    "Selection",
    "Statistics",
    "Tap",
    "Unwatched",
    "resolve",
    "sites",
    "watched",
]
