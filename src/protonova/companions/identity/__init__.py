"""Identity v3: who may do what, and where each service answers. Owns identity.sqlite."""
