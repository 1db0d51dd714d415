"""The steps of the pipeline: the same code whether DVC or a person starts it."""
