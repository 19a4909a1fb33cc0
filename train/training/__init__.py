"""What every training shares: the loop, one step, augmentation, scores, files that appear whole."""
