"""The node's side: what an encoder embeds to send its scored frames and to follow the checkpoints."""
