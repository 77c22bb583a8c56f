"""What `make gpu` measures."""
