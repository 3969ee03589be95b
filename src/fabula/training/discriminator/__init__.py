"""Training of a discriminator: an adapter that tells people's sentences from a model's own."""
