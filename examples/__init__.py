"""What a reader may run: notebooks, and what carries our gates elsewhere."""
