"""What yields examples: generators of data made here, readers of files, builders of gold maps."""
