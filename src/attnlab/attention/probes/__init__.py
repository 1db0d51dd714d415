"""What reads maps off a running model, or changes them: taps, probes and interventions."""

from attnlab.attention.probes.probe import Probe, Statistics
from attnlab.attention.probes.selectors import Selection, resolve, sites, watched
from attnlab.attention.probes.tap import Intervention, Tap

__all__ = [
    "Intervention",
    "Probe",
    "Selection",
    "Statistics",
    "Tap",
    "resolve",
    "sites",
    "watched",
]
