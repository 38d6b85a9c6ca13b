"""The kinds of object store, and pyarrow's client for each, with the variables of the stores' own clients."""

import os
from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pyarrow.fs as stores

from sweep.errors import BadInput

# Seconds for which Google's library retries by itself; it accepts no shorter time.
_GS_PATIENCE = 1


def _s3(bucket: str, query: str) -> stores.FileSystem:
    options = dict(parse_qsl(query))
    # The address of a service other than Amazon's; all S3 clients know these names.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "endpoint_override" not in options:
        options["scheme"], _, options["endpoint_override"] = endpoint.rstrip("/").partition("://")
    return stores.S3FileSystem(
        **options,
        connect_timeout=5,
        allow_delayed_open=True,  # one request to write a part
        retry_strategy=stores.AwsStandardS3RetryStrategy(max_attempts=1),
    )


def _gs(bucket: str, query: str) -> stores.FileSystem:
    options: dict[str, Any] = dict(parse_qsl(query))
    # The address of an emulator; Google's own clients know this name.
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
        scheme, _, endpoint = emulator.rstrip("/").rpartition("://")
        options |= {"anonymous": True, "scheme": scheme or "http", "endpoint_override": endpoint}
    return stores.GcsFileSystem(**options, retry_time_limit=timedelta(seconds=_GS_PATIENCE))


def _az(bucket: str, query: str) -> stores.FileSystem:
    # Azure's own client knows all these names.
    account = os.environ.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise BadInput("az://: name the account of the container: export AZURE_STORAGE_ACCOUNT=NAME")
    options = {
        "account_key": os.environ.get("AZURE_STORAGE_KEY"),
        "sas_token": os.environ.get("AZURE_STORAGE_SAS_TOKEN"),
    }
    if endpoint := os.environ.get("AZURE_STORAGE_SERVICE_ENDPOINT"):
        url = urlsplit(endpoint)
        if url.path.strip("/") != account:
            raise BadInput(
                f"AZURE_STORAGE_SERVICE_ENDPOINT={endpoint}: for an emulator of Azure, write "
                "http://HOST:PORT/ACCOUNT; for Azure itself leave it out"
            )
        for kind in ("blob", "dfs"):
            options |= {f"{kind}_storage_authority": url.netloc, f"{kind}_storage_scheme": url.scheme}
    return stores.AzureFileSystem(account, **options)


KINDS = {"s3": _s3, "gs": _gs, "az": _az}


@cache
def client(scheme: str, bucket: str, query: str) -> stores.FileSystem:
    """The client for a bucket; a process has one for each bucket.

    Args:
        scheme: one of `KINDS`.
        query: options of the store from the URI.

    Raises:
        BadInput: the kind of store does not have an option of the URI, or not with this value.
    """
    try:
        return KINDS[scheme](bucket, query)
    except (TypeError, ValueError, pa.ArrowException) as error:
        options = f"?{query}" if query else ""
        raise BadInput(
            f"{scheme}://{bucket}{options}: {error}: correct the URI's options and the exported variables"
        ) from None
