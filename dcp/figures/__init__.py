"""Figures from traces and tables: `paper` (matplotlib). Pure."""
