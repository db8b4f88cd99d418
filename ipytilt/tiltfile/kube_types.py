"""The types of the fields people get wrong in Kubernetes YAML, such as an unquoted `yes` where a string is meant.

A pure table, and `check` that compares a parsed document with it. It holds the common fields of the common kinds; what
is not in it is not checked, and an unknown field is nobody's mistake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ipytilt.core.manifests import decoded, identity, is_typed

# Go's name of a structure: its fields. A type is a scalar, `map` (of strings), `strings`, a structure or [a structure].
_STRUCTURES = {
    "ObjectMeta": "name:string generateName:string namespace:string labels:map annotations:map finalizers:strings",
    "LabelSelector": "matchLabels:map",
    "Pod": "metadata:ObjectMeta spec:PodSpec",
    "PodTemplate": "metadata:ObjectMeta template:PodTemplateSpec",
    "PodTemplateSpec": "metadata:ObjectMeta spec:PodSpec",
    "PodSpec": "initContainers:[Container] containers:[Container] volumes:[Volume] restartPolicy:string "
    "nodeSelector:map serviceAccountName:string hostNetwork:bool hostname:string subdomain:string nodeName:string "
    "terminationGracePeriodSeconds:int64 imagePullSecrets:[LocalObjectReference] priorityClassName:string "
    "shareProcessNamespace:bool automountServiceAccountToken:bool hostPID:bool hostIPC:bool dnsPolicy:string",
    "Container": "name:string image:string command:strings args:strings workingDir:string ports:[ContainerPort] "
    "env:[EnvVar] envFrom:[EnvFromSource] volumeMounts:[VolumeMount] imagePullPolicy:string stdin:bool tty:bool "
    "resources:ResourceRequirements livenessProbe:Probe readinessProbe:Probe startupProbe:Probe",
    "ContainerPort": "name:string containerPort:int32 hostPort:int32 protocol:string hostIP:string",
    "EnvVar": "name:string value:string valueFrom:EnvVarSource",
    "EnvVarSource": "configMapKeyRef:KeySelector secretKeyRef:KeySelector",
    "KeySelector": "name:string key:string optional:bool",
    "EnvFromSource": "prefix:string configMapRef:LocalObjectReference secretRef:LocalObjectReference",
    "LocalObjectReference": "name:string",
    "VolumeMount": "name:string mountPath:string subPath:string readOnly:bool",
    "ResourceRequirements": "limits:quantities requests:quantities",
    "Probe": "exec:ExecAction httpGet:HTTPGetAction tcpSocket:TCPSocketAction initialDelaySeconds:int32 "
    "timeoutSeconds:int32 periodSeconds:int32 successThreshold:int32 failureThreshold:int32",
    "ExecAction": "command:strings",
    "HTTPGetAction": "path:string port:intstr host:string scheme:string",
    "TCPSocketAction": "port:intstr host:string",
    "Volume": "name:string image:ImageVolumeSource configMap:ConfigMapVolumeSource secret:SecretVolumeSource",
    "ImageVolumeSource": "reference:string pullPolicy:string",
    "ConfigMapVolumeSource": "name:string optional:bool defaultMode:int32",
    "SecretVolumeSource": "secretName:string optional:bool defaultMode:int32",
    "Deployment": "metadata:ObjectMeta spec:DeploymentSpec",
    "DeploymentSpec": "replicas:int32 selector:LabelSelector template:PodTemplateSpec minReadySeconds:int32 "
    "revisionHistoryLimit:int32 paused:bool progressDeadlineSeconds:int32",
    "ReplicaSet": "metadata:ObjectMeta spec:DeploymentSpec",
    "DaemonSet": "metadata:ObjectMeta spec:DeploymentSpec",
    "StatefulSet": "metadata:ObjectMeta spec:StatefulSetSpec",
    "StatefulSetSpec": "replicas:int32 selector:LabelSelector template:PodTemplateSpec serviceName:string "
    "podManagementPolicy:string volumeClaimTemplates:[PersistentVolumeClaim]",
    "ReplicationController": "metadata:ObjectMeta spec:ReplicationControllerSpec",
    "ReplicationControllerSpec": "replicas:int32 selector:map template:PodTemplateSpec",
    "Job": "metadata:ObjectMeta spec:JobSpec",
    "JobSpec": "parallelism:int32 completions:int32 activeDeadlineSeconds:int64 backoffLimit:int32 "
    "ttlSecondsAfterFinished:int32 suspend:bool selector:LabelSelector template:PodTemplateSpec",
    "CronJob": "metadata:ObjectMeta spec:CronJobSpec",
    "CronJobSpec": "schedule:string suspend:bool concurrencyPolicy:string jobTemplate:JobTemplateSpec",
    "JobTemplateSpec": "metadata:ObjectMeta spec:JobSpec",
    "Service": "metadata:ObjectMeta spec:ServiceSpec",
    "ServiceSpec": "type:string clusterIP:string externalName:string selector:map ports:[ServicePort]",
    "ServicePort": "name:string protocol:string port:int32 targetPort:intstr nodePort:int32",
    "ConfigMap": "metadata:ObjectMeta data:map immutable:bool",
    "Secret": "metadata:ObjectMeta data:bytes stringData:map type:string immutable:bool",
    "Namespace": "metadata:ObjectMeta",
    "ServiceAccount": "metadata:ObjectMeta imagePullSecrets:[LocalObjectReference] automountServiceAccountToken:bool",
    "PersistentVolumeClaim": "metadata:ObjectMeta spec:PersistentVolumeClaimSpec",
    "PersistentVolumeClaimSpec": "accessModes:strings storageClassName:string volumeName:string volumeMode:string",
    "Other": "metadata:ObjectMeta",
}
_FIELDS = {
    name: {field.partition(":")[0]: field.partition(":")[2] for field in fields.split()}
    for name, fields in _STRUCTURES.items()
}

_Misfit = tuple[str, str, str]  # what was found, where, what is wanted


def check(document: Mapping[str, Any]) -> None:
    """ValueError, in the Kubernetes client's words, if a field of a known kind has the wrong type."""
    who = identity(document)
    if not who.is_built_in:
        return
    known = is_typed(document) or (who.api_version == "v1" and who.kind in _FIELDS)
    for found, place, wanted in _misfits(document, who.kind if known else "Other", ()):
        problem = f"json: cannot unmarshal {found} into Go struct field {place} of type {wanted}"
        version = who.api_version.rpartition("/")[2]
        raise ValueError(f'{who.kind} in version "{version}" cannot be handled as a {who.kind}: {problem}')


def _misfits(value: Mapping[str, Any], structure: str, path: tuple[str, ...]) -> Iterator[_Misfit]:
    for name, kind in _FIELDS[structure].items():
        if value.get(name) is not None:
            yield from _misfit(value[name], kind, structure, (*path, name))


def _misfit(value: Any, kind: str, structure: str, path: tuple[str, ...]) -> Iterator[_Misfit]:
    place = ".".join((structure, *path))
    if kind in _SCALARS:
        classes, wanted = _SCALARS[kind]
        if type(value) not in classes:
            yield _json_type(value), place, wanted
    elif kind in _MAPS or kind in _FIELDS:
        if not isinstance(value, dict):
            yield _json_type(value), place, _MAPS.get(kind, f"v1.{kind}")
        elif kind in _FIELDS:
            yield from _misfits(value, kind, path)
        else:
            yield from _entries(value, kind, place)
    elif not isinstance(value, list):
        yield _json_type(value), place, "[]string" if kind == "strings" else f"[]v1.{kind.strip('[]')}"
    else:
        for item in value:
            if item is not None:
                yield from _misfit(item, "string" if kind == "strings" else kind.strip("[]"), structure, path)


def _entries(value: dict[str, Any], kind: str, place: str) -> Iterator[_Misfit]:
    classes = (str, int, float) if kind == "quantities" else (str,)
    for item in value.values():
        if item is None:
            continue
        if type(item) not in classes:
            yield _json_type(item), place, "string"
        elif kind == "bytes":
            decoded(item)


_SCALARS: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "string"),
    "bool": ((bool,), "bool"),
    "int32": ((int,), "int32"),
    "int64": ((int,), "int64"),
    "intstr": ((int, str), "intstr.IntOrString"),
}
_MAPS = {"map": "map[string]string", "bytes": "map[string][]uint8", "quantities": "v1.ResourceList"}
_JSON_TYPES = {bool: "bool", int: "number", str: "string", list: "array", dict: "object"}


def _json_type(value: Any) -> str:
    return f"number {value}" if isinstance(value, float) else _JSON_TYPES[type(value)]
