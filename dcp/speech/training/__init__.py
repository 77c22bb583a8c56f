"""How the tagger and its tables are made."""
