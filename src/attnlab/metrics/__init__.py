"""Figures as torchmetrics classes: pooled over the corpus, safe across processes, with intervals."""
