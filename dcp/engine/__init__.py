"""Token ids in, an iterator of `Step` out. Blind to text and to every page."""
