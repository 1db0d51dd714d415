"""Hydra launchers: where the jobs of `python train.py -m ...` run."""
