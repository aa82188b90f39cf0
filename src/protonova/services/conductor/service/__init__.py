"""The gRPC services of a conductor: they validate, write the intent in one transaction, and answer."""
