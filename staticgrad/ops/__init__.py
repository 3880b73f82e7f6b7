"""The op declarations, a family per file."""
