"""Word alignment learned from sentence pairs alone: latent attention, trained by counting."""
