"""Pickles from strangers: read without running what they say, and taken for what their arrays are."""
