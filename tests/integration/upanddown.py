"""`ray up` over ssh to this machine, a sweep from there, `ray down`: run by test_cluster.py, in namespaces."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

from sweep.options import cluster_here

STUDY = """\
name: far
dataset: digits
model: conv-5
epochs: 1
lr: 0.2
criterion: [random, snip]
sparsity: [0.9, 0.99]
seed: [0, 1]
"""
SERVER = """\
Port 22
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv HOME={home} PATH={path}
"""


def ssh_server(folder, home):
    """A server that this process's own key opens, and no other."""
    for name in ("host", "key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    config = folder / "sshd_config"
    config.write_text(SERVER.format(folder=folder, home=home, path=os.environ["PATH"]))
    Path("/run/sshd").mkdir(exist_ok=True)
    return subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stderr=(folder / "sshd.log").open("w")
    )


def say(*words, check=True, **environment):
    """What a command says."""
    answer = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    if check and answer.returncode:
        raise SystemExit(f"{words}: {answer.stdout}{answer.stderr}")
    return answer.stdout + answer.stderr


def ray_processes():
    """Names of the processes of a cluster."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().decode().split("\0")
        found += [Path(words[0]).name] if words[0].endswith(("raylet/raylet", "gcs/gcs_server")) else []
    return found


def main(folder):
    home = Path.home()
    server = ssh_server(folder, home)
    cluster = yaml.safe_load(Path("deploy/local.yaml").read_text())
    cluster["provider"] |= {"head_ip": "127.0.0.1", "worker_ips": []}
    cluster["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "key")}
    # There is no network to install from: the head gets the environment that runs this.
    cluster["setup_commands"][0] = f"ln -sfn {Path(sys.executable).parent.parent} ~/secateur/.venv"
    config = folder / "local.yaml"
    config.write_text(yaml.safe_dump(cluster))
    say("ray", "get-auth-token", "--generate")
    token = (home / ".ray" / "auth_token").read_text().strip()
    (home / ".bashrc").touch()
    found = {"asked": 8}
    say("ray", "up", "--yes", "--no-config-cache", config)
    study = home / "far.yaml"
    study.write_text(STUDY)
    command = f"python -m sweep.launch {study} --results {folder}/results"
    inside = f"cd {home}/secateur && {command}"
    drivers = "import ray, ray._private.state as state; ray.init('auto'); print('drivers', len(state.jobs()))"
    found["exec"] = say("ray", "exec", config, f'{inside} && python -c "{drivers}"')
    job = ("ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--", "bash", "-c", inside)
    found["without the token"] = subprocess.run(
        job,
        env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "wrong"},
        capture_output=True,
        check=False,
    ).returncode
    found["job"] = say(*job, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    found["submit"] = say(
        "ray", "submit", config, "sweep/launch.py", "--", study, "--results", f"{folder}/results"
    )
    say("ray", "down", "--yes", config)
    deadline = time.monotonic() + 20
    while ray_processes() and time.monotonic() < deadline:
        time.sleep(0.5)
    found["left"] = ray_processes()
    found["found afterwards"] = cluster_here(None)
    server.terminate()
    results = folder / "results" / "far"
    import analysis

    found["rows"] = analysis.open(results).execute("SELECT count(*) FROM all_trials").fetchone()[0]
    found["revision"] = json.loads((results / "study.json").read_text())["launches"][0]["git_revision"]
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
