"""How the models that serve are made: inputs, encoder, heads, model selection, evaluation, card."""
