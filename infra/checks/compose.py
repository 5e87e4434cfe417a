"""Checks infra/compose.dev.yaml without a container engine; `./test infra` runs it.

It parses as the Compose specification has it, every volume, config and service that is named
exists, every file that is mounted is there, and every port is on loopback. What Prometheus is
told is written to the folder that is given, for promtool to check.
"""

import pathlib
import sys

import compose_spec

infra = pathlib.Path(__file__).resolve().parent.parent
compose = compose_spec.PyCompose.from_yaml((infra / "compose.dev.yaml").read_text())
compose.validate()
project = compose.to_dict()
services, configs = project["services"], project["configs"]
problems = []
for name, service in services.items():
    if not service.get("healthcheck"):
        problems.append(f"{name} has no health check")
    for other in service.get("depends_on") or {}:
        if other not in services:
            problems.append(f"{name} depends on {other}, which is no service")
    for config in service.get("configs") or []:
        if config["source"] not in configs:
            problems.append(f"{name} uses {config['source']}, which is no config")
    for port in service.get("ports") or []:
        if not str(port if isinstance(port, str) else port.get("host_ip")).startswith("127.0.0.1"):
            problems.append(f"{name} opens {port} to other machines")
    for volume in service.get("volumes") or []:
        source = volume.split(":")[0] if isinstance(volume, str) else volume["source"]
        if source.startswith("."):
            if not (infra / source).exists():
                problems.append(f"{name} mounts {source}, which is not there")
        elif source not in project["volumes"]:
            problems.append(f"{name} mounts {source}, which is no volume")
if problems:
    sys.exit("infra/compose.dev.yaml: " + "; ".join(problems))
folder = pathlib.Path(sys.argv[1])
(folder / "prometheus.yml").write_text(configs["prometheus"]["content"])
for rules in ["rules.yml", "alerts.yml"]:
    (folder / rules).write_text((infra / "prometheus" / rules).read_text())
print(f"compose.dev.yaml: {len(services)} services fit the specification and each other")
