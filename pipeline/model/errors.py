"""The one error of this package."""


class UnusableModel(Exception):
    """A model that cannot be fine-tuned, published or run; the message says which one, where and why.

    `model` is the file's name, `node` and `operator` locate the cause where it is a single node, and `reason`
    says what was found and what was expected.
    """

    def __init__(self, model: str, reason: str, *, node: str = "", operator: str = "") -> None:
        self.model, self.reason, self.node, self.operator = model, reason, node, operator
        where = f": node {node!r}" if node else ""
        what = f" ({operator})" if operator and node else f": operator {operator}" if operator else ""
        super().__init__(f"{model}{where}{what}: {reason}")
