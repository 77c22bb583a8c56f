"""Deaths and attention: one dispatch (`api`), implementations that never import one another."""

ALIVE = 2**31 - 1
"""The death step of a token that no query has dropped."""
