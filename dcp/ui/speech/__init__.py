"""The page about parts of speech."""
