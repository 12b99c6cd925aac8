"""What a node embeds: it sends what it measured, and predicts with the checkpoints that come of it (docs/node.md)."""

from pipeline.model.errors import UnusableModel
from pipeline.node.feedback import FeedbackClient, Patience
from pipeline.node.model import NodeModel
from pipeline.node.policy import Policy
from pipeline.node.watcher import CheckpointWatcher

__all__ = ["CheckpointWatcher", "FeedbackClient", "NodeModel", "Patience", "Policy", "UnusableModel"]
