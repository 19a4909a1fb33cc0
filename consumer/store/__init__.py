"""Each object's sequence of latents in a Redis-protocol store."""
