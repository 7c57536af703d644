"""Units for systemd: one service for all, or a target with one for each agent, broker, guardian and console.

Sources: systemd.service(5), systemd.exec(5); sd_notify(3) for what the services say (`pyros.service_manager`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import Template

FOLDER = "systemd"
_SERVICE = Template("""\
# Written by pyros init; see docs/operations.md. What it runs may write to its data folder and to nothing else.

[Unit]
Description=PYROS, $title
Wants=network-online.target time-sync.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0
$part
[Service]
Type=notify
User=$user
WorkingDirectory=$folder
ExecStart="$python" "$twistd" -n --pidfile= $plugin
ExecReload=/bin/kill -HUP $$MAINPID
Restart=on-failure
RestartSec=2
TimeoutStartSec=180
# At the end the dome is closed and the mount parked before it is left: that takes as long as it takes.
TimeoutStopSec=300
# The guardian stays until the dome is closed, and a job goes on until its agent is back: only the service is ended.
KillMode=process
# A thread that hangs lets no beat through. It is asked to end, which closes the dome, before it is killed.
WatchdogSec=120
WatchdogSignal=SIGTERM

ReadWritePaths="$data"
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
UMask=0077
# Remove this where [observatory] group is set: new folders of the data could not be made the group's.
RestrictSUIDSGID=yes

[Install]
WantedBy=$wanted_by
""")
_TARGET = Template("""\
# Written by pyros init; see docs/operations.md. Instead of pyros.service: each agent is a process of its own.

[Unit]
Description=PYROS, $name
Wants=$wants

[Install]
WantedBy=multi-user.target
""")


def units(
    where: Mapping[str, str], name: str, agents: Iterable[str], parts: Iterable[str], *, simulated: bool
) -> dict[str, str]:
    """Return the text of each unit by its file's name.

    ``where`` has the values of ``folder``, ``data``, ``config`` (absolute paths), ``user``, ``python`` and ``twistd``;
    ``parts`` are those of broker, guardian and console that there are. What is simulated is one service alone: devices
    and agents go together.
    """
    quoted = {key: value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") for key, value in where.items()}
    quoted["folder"] = where["folder"].replace("%", "%%")

    def service(title: str, plugin: str, target: bool = True) -> str:
        return _SERVICE.substitute(
            quoted, title=f"{name}: {title}".replace("%", "%%").replace("%%i", "%i"),
            plugin=f'{plugin} --config "{quoted["config"]}"', part="PartOf=pyros.target\n" * target,
            wanted_by="pyros.target" if target else "multi-user.target",
        )  # fmt: skip

    made = {"pyros.service": service("the whole observatory", "pyros", target=False)}
    if simulated:
        return made
    made["pyros-agent@.service"] = service("the agent %i", "pyros-agent --agent %I")
    made |= {f"pyros-{part}.service": service(f"its {part}", f"pyros-{part}") for part in parts}
    instances = [agent.replace(" ", "\\x20") for agent in agents]  # as systemd-escape(1) writes a blank
    wants = [*(f"pyros-{part}.service" for part in parts), *(f"pyros-agent@{each}.service" for each in instances)]
    made["pyros.target"] = _TARGET.substitute(name=name.replace("%", "%%"), wants=" ".join(wants))
    return made
