"""The kinds of object store, and how each is reached through pyarrow, by its own clients' names."""

import os
from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pyarrow.fs as stores

from sweep.errors import BadInput

# Seconds for which Google's library asks again by itself, which is not told to stop sooner.
_GS_PATIENCE = 1


def _s3(bucket: str, query: str) -> stores.FileSystem:
    options = dict(parse_qsl(query))
    # Of another service than Amazon's; by the names that all of its clients know.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "endpoint_override" not in options:
        options["scheme"], _, options["endpoint_override"] = endpoint.rstrip("/").partition("://")
    return stores.S3FileSystem(
        **options,
        connect_timeout=5,
        allow_delayed_open=True,  # a part then takes one request
        retry_strategy=stores.AwsStandardS3RetryStrategy(max_attempts=1),
    )


def _gs(bucket: str, query: str) -> stores.FileSystem:
    options: dict[str, Any] = dict(parse_qsl(query))
    # Of a server that stands in for Google's; by the name that Google's own clients know.
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
        scheme, _, endpoint = emulator.rstrip("/").rpartition("://")
        options |= {"anonymous": True, "scheme": scheme or "http", "endpoint_override": endpoint}
    return stores.GcsFileSystem(**options, retry_time_limit=timedelta(seconds=_GS_PATIENCE))


def _az(bucket: str, query: str) -> stores.FileSystem:
    # All by the names that Azure's own client knows.
    account = os.environ.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise BadInput("az://: say whose containers: export AZURE_STORAGE_ACCOUNT=NAME")
    options = {
        "account_key": os.environ.get("AZURE_STORAGE_KEY"),
        "sas_token": os.environ.get("AZURE_STORAGE_SAS_TOKEN"),
    }
    if endpoint := os.environ.get("AZURE_STORAGE_SERVICE_ENDPOINT"):
        where = urlsplit(endpoint)
        if where.path.strip("/") != account:
            raise BadInput(
                f"AZURE_STORAGE_SERVICE_ENDPOINT={endpoint}: for a server that stands in for Azure's, "
                "as http://HOST:PORT/ACCOUNT; for Azure leave it out"
            )
        for kind in ("blob", "dfs"):
            options |= {f"{kind}_storage_authority": where.netloc, f"{kind}_storage_scheme": where.scheme}
    return stores.AzureFileSystem(account, **options)


KINDS = {"s3": _s3, "gs": _gs, "az": _az}


@cache
def client(scheme: str, bucket: str, query: str) -> stores.FileSystem:
    """A client for a bucket, one in a process.

    Raises:
        BadInput: what the URI or the environment says of it is nothing for its kind.
    """
    try:
        return KINDS[scheme](bucket, query)
    except (TypeError, ValueError, pa.ArrowException) as error:
        asked = f"?{query}" if query else ""
        raise BadInput(f"{scheme}://{bucket}{asked}: {error}: see its options and what is exported") from None
