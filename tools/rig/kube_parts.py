"""The command lines of the test cluster's parts: what each is told, and when it counts as up.

Everything here is data for ``tools.rig.kube_supervisor``, which runs them on its only thread, inside a network
namespace that nothing else listens in: the ports are the usual ones.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.rig import supervisor
from tools.rig.kube_keys import NAME, Keys
from tools.rig.service import Service

API_PORT = 6443
SERVICE_NETWORK = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"
PAUSE = "ipytilt-pause:test"
_READY = 150
# The API server would wait a minute for its watches to end.
_PATIENCE = 2
_ETCD = "http://127.0.0.1:2379"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cluster is: its folder, its programs, its network (its first three numbers) and control group."""

    folder: Path
    programs: Path
    keys: Keys
    network: str
    cgroup: str

    @property
    def node(self) -> str:
        """The address of the node."""
        return f"{self.network}2"

    def service(self, name: str, flags: Mapping[str, str], *, answers: Callable[[], object]) -> Service:
        """Return one of our programs as a service that logs into the folder."""
        command = [str(self.programs / name), *(f"--{flag}={value}" for flag, value in flags.items())]
        log = self.folder / f"{name}.log"
        return Service(command, log=log, answers=answers, ready=_READY, patience=_PATIENCE)

    def kubectl(self, *words: str) -> str | None:
        """Return what kubectl prints to the cluster's administrator, or None when it fails."""
        command = [str(self.programs / "kubectl"), "--kubeconfig", str(self.keys.admin), "--request-timeout=5s", *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        return None if done.returncode else done.stdout


def etcd(place: Place) -> Service:
    """The store. It does not wait for the disk: a test cluster has nothing to lose."""
    flags = {
        "name": NAME,
        "data-dir": str(place.folder / "etcd"),
        "listen-client-urls": _ETCD,
        "advertise-client-urls": _ETCD,
        "unsafe-no-fsync": "true",
    }
    return place.service("etcd", flags, answers=lambda: _healthy(f"{_ETCD}/health"))


def apiserver(place: Place) -> Service:
    """The API server."""
    keys = place.keys
    flags = {
        "etcd-servers": _ETCD,
        "secure-port": str(API_PORT),
        "advertise-address": place.node,
        "service-cluster-ip-range": SERVICE_NETWORK,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "cert-dir": str(place.folder),
        "client-ca-file": keys.authority,
        "tls-cert-file": keys.certificate("apiserver"),
        "tls-private-key-file": keys.key("apiserver"),
        "kubelet-client-certificate": keys.certificate("kubelet-client"),
        "kubelet-client-key": keys.key("kubelet-client"),
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": str(keys.folder / "sa.pub"),
        "service-account-signing-key-file": keys.key("sa"),
        "requestheader-client-ca-file": keys.authority,
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": keys.certificate("front-proxy"),
        "proxy-client-key-file": keys.key("front-proxy"),
    }
    return place.service("kube-apiserver", flags, answers=lambda: place.kubectl("get", "--raw", "/readyz"))


def controller_manager(place: Place) -> Service:
    """The controllers: deployments, jobs, service accounts and all the rest."""
    keys = place.keys
    flags = {
        **_control_plane(place, "kube-controller-manager"),
        "use-service-account-credentials": "true",
        "service-account-private-key-file": keys.key("sa"),
        "root-ca-file": keys.authority,
        "cluster-signing-cert-file": keys.authority,
        "cluster-signing-key-file": keys.key("ca"),
        "service-cluster-ip-range": SERVICE_NETWORK,
        "flex-volume-plugin-dir": str(place.folder / "volume-plugins"),
    }
    has_account = ("get", "--namespace=default", "serviceaccount/default")
    return place.service("kube-controller-manager", flags, answers=lambda: place.kubectl(*has_account))


def scheduler(place: Place) -> Service:
    """The scheduler; it is up when a pod has a node, which nobody waits for."""
    flags = _control_plane(place, "kube-scheduler")
    return place.service("kube-scheduler", flags, answers=lambda: True)


def kubelet(place: Place) -> Service:
    """The node: its containers are those of the Docker daemon in the same folder."""
    folder = place.folder
    config = folder / "kubelet.json"
    config.write_text(json.dumps(_kubelet_config(place), indent=1))
    flags = {
        "config": str(config),
        "kubeconfig": str(place.keys.kubeconfig("kubelet")),
        "hostname-override": NAME,
        "node-ip": place.node,
        "root-dir": str(folder / "kubelet"),
        "cert-dir": str(folder / "kubelet-keys"),
        "volume-plugin-dir": str(folder / "volume-plugins"),
        "container-runtime": "docker",
        "docker-endpoint": supervisor.host_of(folder),
        "container-runtime-endpoint": f"unix://{folder / 'shim.sock'}",
        "experimental-dockershim-root-directory": str(folder / "shim"),
        "network-plugin": "",
        "pod-infra-container-image": PAUSE,
    }
    ready = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    is_ready = ("get", f"node/{NAME}", "--output", ready)
    return place.service("kubelet", flags, answers=lambda: place.kubectl(*is_ready) == "True")


def proxy(place: Place) -> Service:
    """What makes a Service's address lead to its pods."""
    flags = {
        "kubeconfig": str(place.keys.kubeconfig("kube-proxy")),
        "hostname-override": NAME,
        "proxy-mode": "iptables",
        "conntrack-max-per-core": "0",
    }
    health = "http://127.0.0.1:10256/healthz"
    return place.service("kube-proxy", flags, answers=lambda: _healthy(health))


def _control_plane(place: Place, name: str) -> dict[str, str]:
    config = str(place.keys.kubeconfig(name))
    return {
        "port": "0",
        "kubeconfig": config,
        "authentication-kubeconfig": config,
        "authorization-kubeconfig": config,
        "bind-address": "127.0.0.1",
        "cert-dir": str(place.folder),
        "leader-elect": "false",
    }


def _kubelet_config(place: Place) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": place.keys.authority},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": place.cgroup,
        "failSwapOn": False,
        # There is no name server for Services; without an address each pod would get a warning.
        "clusterDNS": [f"{place.network}1"],
        "clusterDomain": "cluster.local",
        "nodeStatusUpdateFrequency": "4s",
        # Their sockets would be in a folder of the machine's, not in ours.
        "featureGates": {"DevicePlugins": False},
        "serializeImagePulls": False,
        # Images are never collected: what was built here could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    }


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - one of the two above
            return bool(answer.status == 200)
    except OSError:
        return False
