"""Makes a trainer believe in a device, and lets that fail. Python imports this at its start where PYTHONPATH names it.

VMAFX_TEST_DEVICE_FAILS is "at the start", or a number of lessons after which the device is out of memory.
"""

import os
import sys
from typing import Any

if "pipeline.trainer" in sys.orig_argv:
    import torch

    from pipeline.trainer import device, device_learner

    fails = os.environ["VMAFX_TEST_DEVICE_FAILS"]
    lessons = 0
    learn = device_learner.DeviceLearner.learn

    def limited(self: device_learner.DeviceLearner, lesson: Any) -> Any:
        """Take a lesson, as long as there is memory."""
        global lessons
        lessons += 1
        if lessons > int(fails):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return learn(self, lesson)

    if fails == "at the start":
        torch.cuda.is_available = lambda: True
    else:
        device.choose_device = lambda _: ("cpu:0", "")
        device_learner.DeviceLearner.learn = limited  # type: ignore[method-assign]
