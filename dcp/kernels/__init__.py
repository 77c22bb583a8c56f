"""Deaths and attention: one dispatch (`api`), implementations that never import one another."""
