"""Keys, certificates and kubeconfigs of the test cluster, all below one folder.

Runs openssl as a child process, in the caller's thread.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

NAME = "ipytilt-test"  # of the cluster, its context and its node
_AUTHORITY = "ca"
_ADMIN = "admin"
_DAYS = "365"
# certificate -> subject: the names that Kubernetes' own roles are bound to
_CLIENTS = {
    _ADMIN: "/O=system:masters/CN=kubernetes-admin",
    "apiserver": "/CN=kube-apiserver",
    "kubelet-client": "/O=system:masters/CN=kube-apiserver-kubelet-client",
    "front-proxy": "/CN=front-proxy-client",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kubelet": f"/O=system:nodes/CN=system:node:{NAME}",
    "kube-proxy": "/CN=system:kube-proxy",
}
_SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Keys:
    """The files in ``folder``, made by the constructor: one authority, a certificate for each part."""

    def __init__(self, folder: Path, *, server: str, addresses: Sequence[str]) -> None:
        """Make the files; ``server`` is the address clients are sent to, ``addresses`` are all the API server has."""
        self.folder = folder
        self._server = server
        folder.mkdir(mode=0o700)
        self._certificate(_AUTHORITY, f"/CN={NAME}", "basicConstraints=CA:TRUE\nkeyUsage=keyCertSign,cRLSign")
        names = [*(f"DNS:{name}" for name in _SERVER_NAMES), *(f"IP:{address}" for address in addresses)]
        ends = "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth"
        for name, subject in _CLIENTS.items():
            own = f"\nsubjectAltName={','.join(names)}" if name == "apiserver" else ""
            self._certificate(name, subject, f"{ends}{own}", signed=True)
        for words in (["genrsa", "-out", self.key("sa"), "2048"], ["rsa", "-in", self.key("sa"), "-pubout"]):
            _openssl([*words, *(["-out", str(folder / "sa.pub")] if "-pubout" in words else [])])

    @property
    def authority(self) -> str:
        """The path of the certificate that all others are checked against."""
        return self.certificate(_AUTHORITY)

    @property
    def admin(self) -> Path:
        """The kubeconfig of one who may do everything."""
        return self.kubeconfig(_ADMIN)

    def certificate(self, name: str) -> str:
        """Return the path of a certificate."""
        return str(self.folder / f"{name}.crt")

    def key(self, name: str) -> str:
        """Return the path of a private key."""
        return str(self.folder / f"{name}.key")

    def kubeconfig(self, name: str) -> Path:
        """Return the path of a kubeconfig for the holder of a certificate."""
        cluster = {"server": self._server, "certificate-authority-data": _encoded(self.authority)}
        user = {
            "client-certificate-data": _encoded(self.certificate(name)),
            "client-key-data": _encoded(self.key(name)),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": NAME, "cluster": cluster}],
            "users": [{"name": NAME, "user": user}],
            "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
            "current-context": NAME,
        }
        path = self.folder / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))
        return path

    def _certificate(self, name: str, subject: str, extensions: str, *, signed: bool = False) -> None:
        settings = self.folder / f"{name}.cnf"
        settings.write_text(f"[req]\ndistinguished_name=name\nx509_extensions=use\n[name]\n[use]\n{extensions}\n")
        by = ["-CA", self.authority, "-CAkey", self.key(_AUTHORITY)] if signed else []
        made = ["-keyout", self.key(name), "-out", self.certificate(name), "-days", _DAYS]
        _openssl(["req", "-x509", "-config", str(settings), *_NEW_KEY, "-subj", subject, *made, *by])


def _encoded(path: str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode()


def _openssl(words: Sequence[str]) -> None:
    done = subprocess.run(["openssl", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"`openssl {words[0]}` failed: {done.stderr.strip()}")
