"""Data sets: stamps and alerts from archives and pickles, labels, and what a data set holds."""
