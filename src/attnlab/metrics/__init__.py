"""Figures as torchmetrics classes: pooled over the corpus, DDP-safe, with intervals."""
