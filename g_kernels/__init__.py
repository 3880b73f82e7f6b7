"""What g.py calls: arrays over memory that something else owns, matrix products in registers,
vector mathematics. Taken over from staticgrad 0.1.0 (MIT licence)."""
