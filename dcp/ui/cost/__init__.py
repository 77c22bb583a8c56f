"""The page of memory and time."""
