"""JSON in, text out: what people read. Pure: the clock and the width of the terminal are arguments."""
