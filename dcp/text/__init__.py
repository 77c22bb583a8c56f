"""Text and tokens: ids, character offsets, growing text. Knows no model."""
