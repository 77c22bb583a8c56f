"""Training: tokenizer, data, α-sigmoid gates, and one resumable trainer with two stages."""
