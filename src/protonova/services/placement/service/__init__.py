"""The four gRPC services: messages in, messages out, nothing decided here."""
