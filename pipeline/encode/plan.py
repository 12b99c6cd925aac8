"""What is encoded, in which order, and what ffmpeg generates where no video is given."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.corpus.pairs import Pair

_SIZE = "size=256x144:rate=25"
GENERATED = (
    f"lavfi:testsrc2={_SIZE}",
    f"lavfi:mandelbrot={_SIZE}",
    f"lavfi:life={_SIZE}:mold=10:ratio=0.1:death_color=#403020:life_color=#d0f0c0",
    f"lavfi:cellauto={_SIZE}:rule=110",
    f"lavfi:gradients={_SIZE}:speed=0.05:seed=7",
    f"lavfi:sierpinski={_SIZE}",
    f"lavfi:zoneplate={_SIZE}:ku=2:kv=1:kt=3:kx2=40:ky2=40",
    f"lavfi:perlin={_SIZE}:octaves=4:xscale=4:yscale=4:random_mode=seed:seed=3",
    f"lavfi:testsrc={_SIZE}",
    "lavfi:mptestsrc=rate=25,scale=256:144",
    f"lavfi:smptehdbars={_SIZE},scroll=horizontal=0.01,noise=alls=12:allf=t",
    f"lavfi:rgbtestsrc={_SIZE},rotate=t/3",
)
"""Videos that ffmpeg makes itself, as unlike each other as it has them."""

GENERATED_LADDER = ("libx264:20,25,30,35,40,45,50", "libx265:24,32,40,48")


def in_turn(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs in rounds: each source once a round, and in a round every source at another rung."""
    by_source: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_source.setdefault(pair.source, []).append(pair)
    turned = [own[place % len(own) :] + own[: place % len(own)] for place, own in enumerate(by_source.values())]
    longest = max(map(len, turned), default=0)
    return [own[turn] for turn in range(longest) for own in turned if turn < len(own)]
