"""The log between sidecars and a pool (NATS JetStream): connection, messages, stream; knows no process."""
