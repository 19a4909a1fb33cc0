"""The classifier that serves: encoder, MLP and recurrent head, as torch modules."""
