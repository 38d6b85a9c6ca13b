"""A tracking server of MLflow on the loopback address."""

import threading
import time

import pytest


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory):
    """The URI of a server with an empty database.

    It runs in a thread: `mlflow server` imports MLflow in three processes more, which takes most of its start.
    """
    from mlflow.server import constants

    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv(constants.BACKEND_STORE_URI_ENV_VAR, f"sqlite:///{folder}/runs.db")
        patch.setenv(constants.ARTIFACT_ROOT_ENV_VAR, str(folder))
        import uvicorn
        from mlflow.server.fastapi_app import app

        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            time.sleep(0.01)
        [port] = (socket.getsockname()[1] for each in server.servers for socket in each.sockets)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()
