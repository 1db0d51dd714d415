"""What holds for every test."""

import os

from hypothesis import settings

# Before torch is imported: tests run side by side, and threads that wait for one another
# make all of them slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A first example may pay for an import or a cold cache: time says nothing about correctness.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
