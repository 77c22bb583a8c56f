"""Rules that decide which entries a layer drops."""
