"""The page that puts a dropped token back."""
