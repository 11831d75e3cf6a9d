"""The official azure-ai-ml client, pointed at the local workspace."""

import json
import logging
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

from azure.ai.ml import MLClient  # noqa: E402
from azure.ai.ml.constants import _common  # noqa: E402
from azure.core.credentials import AccessToken  # noqa: E402
from azure.core.pipeline.policies import SansIOHTTPPolicy  # noqa: E402


class Credential:
    """Gives the local workspace's token for every scope."""

    def __init__(self, token):
        self.token = token

    def get_token(self, *scopes, **_):
        return AccessToken(self.token, int(time.time()) + 3600)


class Loopback(SansIOHTTPPolicy):
    """The client's own policy refuses plain http."""

    def __init__(self, token):
        self.token = token

    def on_request(self, request):
        request.context.options.pop("enforce_https", None)
        request.http_request.headers["Authorization"] = f"Bearer {self.token}"


def connect(url: str, token: str, folder: Path) -> MLClient:
    """A client of the local workspace at `url`, whose config.json lies in `folder`."""
    # The client forms `https://{account}.blob.{endpoint}`; on loopback the account is part of the path.
    _common.STORAGE_ACCOUNT_URLS["AzureBlob"] = url + "/{}"
    config = folder / "config.json"
    config.write_text(
        json.dumps(
            {
                "subscription_id": "00000000-0000-0000-0000-000000000000",
                "resource_group": "local",
                "workspace_name": "local",
            }
        )
    )
    return MLClient.from_config(
        Credential(token),
        path=str(config),
        cloud="LocalCloud",
        authentication_policy=Loopback(token),
        enable_telemetry=False,
        cloud_metadata={
            "azure_portal": url,
            "resource_manager": url,
            "active_directory": url,
            "aml_resource_id": "https://ml.azure.com",
            "storage_endpoint": url,
            "registry_discovery_endpoint": url + "/",
        },
    )
