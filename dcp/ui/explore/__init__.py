"""The first page: a text, the linked view, files to take away."""
