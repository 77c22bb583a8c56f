"""Quality: perplexity against entries held, zero-shot tasks, the calibration of the dial."""
