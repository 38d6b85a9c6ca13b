"""A SLURM of two nodes on this machine, in a private folder: for the tests of jobs."""

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from getpass import getuser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# Two nodes on two loopback addresses. Jobs of the partition `high` take the place of those of `low`.
CONFIG = """\
ClusterName=t{port}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/run/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=100000,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=6
KillWait=10
MessageTimeout=30
SrunPortRange={first}-{last}
GresTypes=gpu
NodeName=DEFAULT CPUs=2 RealMemory=1000 Gres=gpu:4
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.2 Port={port1}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.3 Port={port2}
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE OverSubscribe=NO
PartitionName=gpu Nodes=ALL PriorityTier=1
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
"""
# GPUs that are counted, and not there.
GPUS = "NodeName=n[1-2] Name=gpu File={folder}/gpu[0-3]\n"
NODES = ("n1", "n2")
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")


def need():
    """Skip the test where SLURM is missing."""
    if missing := [name for name in _PROGRAMS if not shutil.which(name, path=_path())]:
        pytest.skip(f"no {', '.join(missing)} on this machine: .ci/run installs SLURM")


def _path():
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


class Slurm:
    """The running servers.

    Attributes:
        environment: in which SLURM's commands find these servers, without any allocation around this process.
    """

    def __init__(self, folder, config):
        self.folder = folder
        outer = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))
        }
        self.environment = {**outer, "SLURM_CONF": str(config), "PATH": _path()}

    def ask(self, *words):
        """What a command says, and how it exits."""
        return subprocess.run(
            [*map(str, words)], env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )

    def say(self, *words, check=True):
        """What a command says on stdout."""
        answer = self.ask(*words)
        assert not check or answer.returncode == 0, f"{words}: {answer.stderr}"
        return answer.stdout.strip()

    def job(self, number):
        """The fields of a job, as `scontrol show job` prints them; empty if SLURM has forgotten the job."""
        words = self.say("scontrol", "show", "job", "--oneliner", number, check=False).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def state(self, number):
        return self.job(number).get("JobState", "")

    def wait(self, condition, what, seconds=180):
        """Wait until a condition holds; what it returns."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{self.logs()}"
            time.sleep(0.2)
        return found

    def restart(self, number):
        """Let a requeued job run soon, which SLURM would hold back for two minutes.

        Not at once: a node refuses a job for good that begins in the second in which it ended there.
        """
        self.wait(lambda: self.state(number) == "PENDING", f"job {number} in the queue again")
        self.say("scontrol", "update", f"jobid={number}", "StartTime=now+3")

    def clear(self):
        """Cancel every job, and use every node again."""
        self.say("scancel", "--user", getuser())
        self.wait(lambda: not self.say("squeue", "--noheader"), "no jobs")
        for node in NODES:
            if "idle" not in self.say("sinfo", "-hN", "-n", node, "-p", "low", "-o", "%T"):
                self.say("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        self._idle()

    def _idle(self):
        def idle():
            return self.say("sinfo", "-hN", "-p", "low", "-o", "%T", check=False).split() == ["idle", "idle"]

        self.wait(idle, "two idle nodes", 60)

    def logs(self):
        return "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in self.folder.glob("log/*.log"))


@contextmanager
def servers():
    """Start munge, slurmctld and two slurmd on free ports; they end with the context."""
    with TemporaryDirectory(prefix="slurm-", dir="/tmp") as name, ExitStack() as running:
        folder = Path(name)
        folder.chmod(0o711)
        for each in ("state", "log", "run", "munge", *(f"spool/{node}" for node in NODES)):
            (folder / each).mkdir(parents=True, mode=0o711)
        (folder / "munge").chmod(0o700)
        key = folder / "munge" / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        port = _free_ports()
        ports = {"port": port, "port1": port + 1, "port2": port + 2, "first": port + 100, "last": port + 199}
        config = folder / "slurm.conf"
        host = socket.gethostname().partition(".")[0]
        config.write_text(CONFIG.format(folder=folder, host=host, user=getuser(), **ports))
        (folder / "gres.conf").write_text(GPUS.format(folder=folder))
        for number in range(4):
            (folder / f"gpu{number}").touch()
        slurm = Slurm(folder, config)

        def start(*words):
            with (folder / "log" / "output.log").open("a") as log:
                process = subprocess.Popen([*map(str, words)], env=slurm.environment, stdout=log, stderr=log)
            running.callback(_end, process)

        private = [
            f"--{name}={folder}/munge/munge.{name[:3]}" for name in ("pid-file", "log-file", "seed-file")
        ]
        socket_file = folder / "run" / "munge.sock"
        start("munged", "-F", f"--socket={socket_file}", f"--key-file={key}", *private)
        slurm.wait(socket_file.exists, "munge's socket", 60)
        start("slurmctld", "-D", "-i", "-f", config)
        for node in NODES:
            start("slurmd", "-D", "-N", node, "-f", config)
        slurm._idle()
        try:
            yield slurm
        finally:
            _leave(slurm)


def _free_ports():
    """A base of ports below those that the system gives out."""
    while True:
        base = random.randrange(20_000, 32_000, 200)
        with ExitStack() as opened, suppress(OSError):
            for number in range(base, base + 3):
                probe = opened.enter_context(socket.socket())
                probe.bind(("", number))
            return base  # an error goes on with the next


def _leave(slurm):
    """Cancel every job, and end what slurmd leaves."""
    slurm.say("scancel", "--user", getuser(), check=False)
    with suppress(AssertionError):
        slurm.wait(lambda: not slurm.say("squeue", "--noheader"), "no jobs", 30)
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"SLURM_CONF={slurm.folder}/".encode() in path.read_bytes() and _is_step(path.parent):
                os.kill(int(path.parent.name), signal.SIGKILL)


def _is_step(process):
    return (process / "comm").read_text().startswith("slurmstepd")


def _end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
