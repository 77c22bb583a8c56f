"""Training: tokenizer, data, α-sigmoid gates, and one resumable trainer with three stages."""
