"""Decoding speed beside llama.cpp and transformers, in one run: `run`."""
