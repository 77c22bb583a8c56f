"""The model: one loop for every architecture, its weights, its cache."""
