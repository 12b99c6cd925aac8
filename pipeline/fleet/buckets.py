"""Key-value buckets of a tenant: made by the pool that needs one first."""

from __future__ import annotations

from nats.aio.client import Client
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import BucketNotFoundError
from nats.js.kv import KeyValue


async def ensure(client: Client, wanted: KeyValueConfig) -> KeyValue:
    """Return a bucket, made where there is none: on disk, the newest value of each key. Its replicas are as wanted."""
    js = client.jetstream()
    try:
        bucket = await js.key_value(wanted.bucket)
    except BucketNotFoundError:
        return await js.create_key_value(wanted.evolve(history=1, storage=StorageType.FILE))
    config = (await bucket.status()).stream_info.config
    if config.num_replicas != wanted.replicas:
        await js.update_stream(config.evolve(num_replicas=wanted.replicas))
    return bucket
