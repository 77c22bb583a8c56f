"""Text in, `Trace` out: recording, and reading the same tokens again."""
