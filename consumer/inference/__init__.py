"""The models on their device, and the sizes of the batches that they take."""
