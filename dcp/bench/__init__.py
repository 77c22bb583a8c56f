"""Speed and memory, measured so that the ratios can be believed.

Arms of a group live side by side in one process and take turns, a few steps at a time, so that a
noisy machine hurts all of them alike. Reading order: `harness` (turns and medians), `shapes` (what
to measure on), `arms` (what is measured).
"""
