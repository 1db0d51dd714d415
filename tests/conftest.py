"""What holds for every test."""

from hypothesis import settings

# A first example may pay for an import or a cold cache: time says nothing about correctness.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
