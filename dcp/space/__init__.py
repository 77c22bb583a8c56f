"""A demo that costs nothing: the model in the visitor's browser, written as a static folder."""
