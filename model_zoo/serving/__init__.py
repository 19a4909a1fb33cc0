"""The classifier made ready to serve: folded convolutions, and heads in fixed arithmetic."""
