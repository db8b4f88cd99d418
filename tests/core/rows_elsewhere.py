"""The rows that `test_behaviour` does not play: shown by tests of other layers."""

from __future__ import annotations

_WATCHER = "tests/runtime/test_watcher.py::test_case_"
_ROOTS = "tests/runtime/test_watcher_roots.py::test_case_"
_DISK = "tests/runtime/test_behaviour.py::test_"
_CONTAINERS = "tests/engines/test_docker_containers.py::test_"
_FILLING = "tests/runtime/test_session.py::test_89_90_91_an_initial_sync_fills_a_new_container"
_LOCAL = "tests/engines/test_local.py::test_"
_DEPLOY = "tests/engines/test_kubernetes_deploy.py::test_"
_CI = "tests/core/test_ci.py::test_rows"

ELSEWHERE = {
    "20": f"{_ROOTS}20_a_root_made_together_with_its_parents",
    "21": f"{_ROOTS}21_beside_a_missing_root",
    "22": f"{_WATCHER}22_everything_in_new_directories_is_reported_and_watched",
    "23": f"{_WATCHER}23_removed_and_made_again",
    "24": f"{_WATCHER}24_a_link_is_a_path_of_its_own",
    "25": f"{_WATCHER}25_an_ignored_directory_costs_no_kernel_watch",
    "26": f"{_WATCHER}26_a_directory_that_only_gets_a_new_time_or_mode",
    "29": "tests/runtime/test_inotify.py::test_case_29_what_was_lost_is_found_by_comparing",
    "31": f"{_DISK}31_a_run_without_a_user_watches_nothing",
    "42": f"{_DISK}42_a_socket_is_left_out_and_the_rest_is_sent",
    "43": "tests/engines/test_context.py::test_a_file_that_changes_while_it_is_sent_leaves_the_archive_whole",
    "67": f"{_CONTAINERS}without_a_shell_files_go_through_the_archive_interface",
    "68": f"{_CONTAINERS}what_the_user_may_not_write_is_named_with_the_user",
    "72": f"{_DISK}72_a_failed_command_keeps_the_container_from_being_restarted",
    "89": _FILLING,
    "90": _FILLING,
    "91": _FILLING,
    "141": "tests/runtime/test_session.py::test_141_what_a_command_writes_is_built_into_the_image_once",
    "149": f"{_LOCAL}a_server_that_ignores_the_request_is_killed_after_the_grace",
    "150": f"{_LOCAL}what_a_command_leaves_in_the_background_ends_with_it",
    "152": "tests/runtime/test_presses.py::test_a_second_press_stops_the_first_run",
    "157": "tests/core/test_inject.py::test_157_an_image_that_is_nowhere_is_an_error",
    "158": f"{_DEPLOY}158_what_cannot_be_changed_is_deleted_and_made_anew",
    "159": f"{_DEPLOY}159_what_is_too_large_for_the_annotation_is_replaced",
    "160": f"{_DEPLOY}160_what_takes_too_long_is_an_error_that_says_how_to_give_it_more_time",
    "161": f"{_DEPLOY}161_what_left_the_documents_is_deleted_afterwards",
    "162": f"{_DEPLOY}162_what_another_resource_deploys_now_is_not_deleted",
    "163": f"{_DEPLOY}163_nothing_is_deleted_after_an_apply_that_failed",
    "165": "tests/engines/test_kubernetes_publish.py::test_165_a_product_without_a_registry_loads_images",
    "166": "tests/engines/test_docker_push.py::test_166_a_command_with_a_tag_of_its_own_sees_the_bare_name",
    "167": "tests/engines/test_docker_build.py::test_a_custom_build_that_fails_says_why",
    "168": "tests/engines/test_kubernetes_owners.py::test_168_pods_of_the_old_replica_set_do_not_count",
    "169": "tests/engines/test_kubernetes_observer.py::test_169_pods_are_found_by_labels_alone",
    "170": "tests/engines/test_kubernetes_observer.py::test_170_events_of_pods_that_cannot_be_scheduled",
    "173": f"{_CI}[173 a build fails]",
    "175": f"{_CI}[175 and after it]",
    "178": f"{_CI}[178 a server whose probe never succeeds]",
    "179": f"{_CI}[179 what nobody starts by itself]",
    "180": f"{_CI}[180 all is disabled]",
    "181": f"{_DEPLOY}181_what_is_to_be_kept_stays",
    "182": f"{_DEPLOY}182_namespaces_stay_unless_they_are_asked_for",
}
"""Row -> the test that shows it."""

BETTER_ELSEWHERE = {
    "22": "every file is reported, however quickly its directories were made",
    "29": "Tilt loses what happened in between; we compare the tree with what was known and report the difference",
    "67": "an image without tar is updated through the archive interface of the engine",
}
"""Row of `ELSEWHERE` -> in what we deliberately do better than Tilt."""
