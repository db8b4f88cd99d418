"""The registry: everything the language names is there, documented, and shown by its signature."""

from __future__ import annotations

import pytest

from ipytilt.tiltfile.builtin import environment, registered
from ipytilt.tiltfile.evaluation import Eval
from tests.tiltfile.evaluated import host

# every global function of the API, v1alpha1 apart, with its parameters in order
SIGNATURES = {
    "docker_build": "ref context build_args dockerfile dockerfile_contents cache live_update match_in_env_vars ignore "
    "only entrypoint container_args target ssh secret network extra_tag cache_from pull platform extra_hosts",
    "custom_build": "ref command deps tag disable_push skips_local_docker live_update match_in_env_vars ignore "
    "entrypoint container_args command_bat_val outputs_image_ref_to command_bat image_deps env dir",
    "default_registry": "host host_from_cluster single_name",
    "docker_compose": "configPaths env_file project_name profiles wait",
    "dc_resource": "name image trigger_mode resource_deps infer_links links labels auto_init project_name new_name",
    "local": "command quiet command_bat echo_off env dir stdin",
    "local_resource": "name cmd deps trigger_mode resource_deps ignore auto_init serve_cmd cmd_bat serve_cmd_bat "
    "allow_parallel links labels env serve_env readiness_probe dir serve_dir",
    "probe": "initial_delay_secs timeout_secs period_secs success_threshold failure_threshold exec http_get tcp_socket",
    "exec_action": "command",
    "http_get_action": "port host scheme path",
    "tcp_socket_action": "port host",
    "link": "url name",
    "port_forward": "local_port container_port name link_path host",
    "sync": "local_path remote_path",
    "run": "cmd trigger echo_off",
    "fall_back_on": "paths files",
    "initial_sync": "",
    "restart_container": "",
    "live_update": "image steps full_rebuild_triggers",
    "trigger_mode": "trigger_mode",
    "update_settings": "max_parallel_updates k8s_upsert_timeout_secs suppress_unused_image_warnings "
    "k8s_server_side_apply",
    "ci_settings": "k8s_grace_period timeout readiness_timeout",
    "watch_settings": "ignore",
    "docker_prune_settings": "disable max_age_mins num_builds interval_hrs keep_recent",
    "secret_settings": "disable_scrub",
    "analytics_settings": "enable",
    "experimental_analytics_report": "tags",
    "experimental_telemetry_cmd": "cmd cmd_bat period dir",
    "version_settings": "check_updates constraint",
    "enable_feature": "msg",
    "disable_feature": "msg",
    "disable_snapshots": "",
    "set_team": "team_id",
    "read_file": "paths default",
    "watch_file": "paths",
    "listdir": "dir recursive",
    "blob": "input",
    "read_json": "paths default",
    "decode_json": "json",
    "read_yaml": "paths default",
    "decode_yaml": "yaml",
    "read_yaml_stream": "paths default",
    "decode_yaml_stream": "yaml",
    "encode_json": "obj",
    "encode_yaml": "obj",
    "encode_yaml_stream": "objs",
    "local_git_repo": "paths",
    "os.getcwd": "",
    "os.getenv": "key default",
    "os.putenv": "key value",
    "os.unsetenv": "key",
    "os.path.abspath": "path",
    "os.path.relpath": "targpath basepath",
    "os.path.basename": "path",
    "os.path.dirname": "path",
    "os.path.exists": "path",
    "os.path.realpath": "path",
    "shlex.quote": "name",
    "config.define_string": "name args usage",
    "config.define_string_list": "name args usage",
    "config.define_bool": "name args usage",
    "config.define_object": "name args usage",
    "config.parse": "",
    "config.set_enabled_resources": "resources",
    "config.clear_enabled_resources": "",
    "k8s_yaml": "yaml allow_duplicates",
    "filter_yaml": "yaml labels name namespace kind api_version",
    "k8s_resource": "workload new_name port_forwards extra_pod_selectors trigger_mode resource_deps objects auto_init "
    "pod_readiness links labels discovery_strategy",
    "k8s_kind": "kind image_json_path api_version image_object pod_readiness",
    "k8s_image_json_path": "paths api_version kind name namespace",
    "k8s_custom_deploy": "name apply_cmd delete_cmd deps image_selector live_update apply_dir apply_env apply_cmd_bat "
    "delete_dir delete_env delete_cmd_bat container_selector image_deps",
    "helm": "paths name namespace values set kube_version skip_crds",
    "kustomize": "paths kustomize_bin flags",
    "allow_k8s_contexts": "contexts",
    "workload_to_resource_function": "func",
    "fail": "msg",
    "warn": "msg",
    "exit": "code",
    "include": "path",
    "load_dynamic": "path",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_parameters(name: str) -> None:
    function = registered()[name]
    assert [parameter.name for parameter in function.parameters] == SIGNATURES[name].split()


@pytest.mark.parametrize("name", registered())
def test_every_builtin_is_documented(name: str) -> None:
    function = registered()[name]
    assert function.doc.splitlines()[0].endswith((".", "?"))
    assert function.signature.startswith(f"{name}(")
    assert all(parameter.kind.word for parameter in function.parameters)


def test_signatures_show_defaults() -> None:
    assert registered()["read_file"].signature == "read_file(paths, default=None)"
    assert registered()["read_json"].signature == "read_json(paths, default=(unset))"


def test_the_environment_holds_everything() -> None:
    names = environment(Eval(host=host(), args=(), main="/Tiltfile", cancelled=lambda: False))
    assert {name.partition(".")[0] for name in SIGNATURES} | {
        "TRIGGER_MODE_AUTO",
        "sys",
    } <= names.keys()
