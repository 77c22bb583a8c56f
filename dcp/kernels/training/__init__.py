"""Attention under gates with a gradient, for training."""
