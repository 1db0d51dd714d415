"""Tests of whether a map decides the answer, and whether it points to the units that do."""
