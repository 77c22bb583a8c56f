"""Figures from traces and tables: `screen` (plotly) and `paper` (matplotlib). Pure."""
