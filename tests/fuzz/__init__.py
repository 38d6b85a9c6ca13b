"""Mutants of what people write, made at random and judged by what must hold of all of them."""
