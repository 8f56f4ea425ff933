"""The table of limits: for each one of `limits.py` the tests that walk its boundary (cap-1, cap, cap+1).

A limit without a row fails, and so does a row whose limit or test is not there: nothing is announced that nobody holds.
Times are walked by a clock of the test's own, or with values of some milliseconds. At least one of the tests has three
points: cases of `parametrize`, or a loop over three. What has no such boundary stands in OTHERWISE, with the reason.
"""

from __future__ import annotations

import ast
import dataclasses
from functools import cache
from pathlib import Path

import pytest

from sagittal.limits import Limits

TESTS = Path(__file__).parents[1]
READER, NET, TIMES = "unit/dicom/test_reader_limits.py", "unit/net/test_caps.py", "unit/net/test_time_limits.py"
WEB, MULTIPART, ENGINE = "unit/web/test_limits.py", "unit/web/test_multipart.py", "unit/archive/test_limits.py"
COMMITTER = "unit/archive/test_committer_limits.py"
POOL = "unit/workers/test_pool.py"
IMPORT, QUERY = "unit/archive/test_importer.py", "unit/archive/test_query.py"

WALKED: dict[str, tuple[str, ...]] = {
    "reader.depth_max": (f"{READER}::test_caps", f"{READER}::test_depth_counts_in_remembered_sequences_too"),
    "reader.elements_max": (f"{READER}::test_caps", f"{READER}::test_elements_count_in_remembered_runs_too"),
    "reader.sequence_whole_bytes_max": (f"{READER}::test_shorter_sequences_are_read_whole",),
    "reader.value_text_bytes_max": (f"{READER}::test_longer_values_become_bulk_data",),
    "reader.value_binary_bytes_max": (f"{READER}::test_longer_values_become_bulk_data",),
    "reader.value_held_bytes_max": (f"{READER}::test_longer_values_become_bulk_data",),
    "reader.metadata_flush_characters": (
        f"{READER}::test_metadata_flush_characters",
        f"{READER}::test_metadata_is_given_in_pieces",
    ),
    "reader.frames_max": (f"{READER}::test_caps",),
    "reader.identifier_elements_max": ("unit/services/test_query.py::test_identifier_elements_max",),
    "reader.identifier_inflated_bytes_max": ("unit/services/test_query.py::test_identifier_inflated_bytes_max",),
    "reader.meta_group_bytes_max": ("unit/dicom/test_part10.py::test_meta_group_limit_at_below_and_above",),
    "reader.inflate_ratio_max": (f"{READER}::test_inflate_ratio",),
    "reader.inflate_ratio_free_bytes": (f"{READER}::test_caps",),
    "reader.inflate_bytes_max": (f"{READER}::test_caps",),
    "reader.data_set_bytes_max": (f"{READER}::test_caps",),
    "net.pdu_receive_bytes_max": (f"{NET}::test_pdu_receive_bytes_max",),
    "net.associate_pdu_bytes_max": (f"{NET}::test_associate_pdu_bytes_max",),
    "net.presentation_contexts_max": (f"{NET}::test_presentation_contexts_max",),
    "net.receive_buffer_bytes": (f"{TIMES}::test_receive_buffer_bytes",),
    "net.command_set_bytes_max": (f"{NET}::test_command_set_bytes_max",),
    "net.identifier_bytes_max": (f"{NET}::test_identifier_bytes_max",),
    "net.failed_list_bytes_max": ("unit/net/test_client.py::test_failed_list_bytes_max",),
    "net.associations_max": (f"{NET}::test_associations_max",),
    "net.associations_per_title_max": (f"{NET}::test_associations_per_title_max",),
    "net.connections_unassociated_max": (f"{NET}::test_connections_unassociated_max",),
    "net.connections_per_address_max": (f"{NET}::test_connections_per_address_max",),
    "net.artim_seconds": (f"{TIMES}::TestWatch::test_artim_seconds",),
    "net.idle_seconds_max": (f"{TIMES}::TestWatch::test_idle_seconds_max",),
    "net.receive_bytes_per_second_min": (f"{TIMES}::test_receive_bytes_per_second_min",),
    "net.progress_window_seconds": (f"{TIMES}::TestWatch::test_progress_window_seconds",),
    "net.send_stall_seconds_max": (f"{TIMES}::TestWatch::test_send_stall_seconds_max",),
    "net.operations_max": (
        "unit/net/test_window.py::test_operations_max",
        "unit/net/test_window.py::test_what_is_agreed",
    ),
    "net.peer_pdu_bytes_min": (f"{NET}::test_peer_pdu_bytes_min", f"{NET}::test_peer_pdu_bytes_min_of_an_acceptor"),
    "net.connect_seconds_max": (f"{TIMES}::test_connect_seconds_max",),
    "net.move_seconds_max": (f"{TIMES}::TestWatch::test_move_seconds_max",),
    "net.response_seconds_max": (f"{TIMES}::TestWatch::test_response_seconds_max",),
    "web.header_seconds_max": (f"{WEB}::test_header_seconds_max",),
    "web.connections_max": ("unit/web/test_server.py::test_connections_at_work",),
    "web.request_buffer_bytes": ("unit/web/test_server.py::test_request_buffer_bytes",),
    "web.body_bytes_per_second_min": (
        f"{WEB}::test_body_bytes_per_second_min",
        "unit/web/test_connection.py::test_an_answer_that_is_taken_too_slowly_ends",
    ),
    "web.request_line_and_headers_bytes_max": (
        "unit/web/test_server.py::test_head_bytes",
        "unit/web/test_trailers.py::test_trailers",
    ),
    "web.multipart_header_bytes_max": (f"{MULTIPART}::TestCaps::test_header_bytes",),
    "web.multipart_headers_max": (f"{MULTIPART}::TestCaps::test_headers",),
    "web.parts_max": (
        f"{MULTIPART}::TestCaps::test_parts",
        "unit/web/test_stow.py::test_parts",
        "unit/web/test_stow_metadata.py::test_instances_of_one_request",
    ),
    "web.results_default": ("unit/web/test_qido.py::test_limit",),
    "web.results_max": ("unit/web/test_qido.py::test_limit",),
    "web.results_whole_max": ("unit/web/test_qido.py::test_limit_of_whole_rows",),
    "web.json_body_bytes_max": ("unit/web/test_stow_metadata.py::test_an_object_is_no_longer_than_the_limit",),
    "web.api_body_bytes_max": (f"{WEB}::test_api_body_bytes_max",),
    "web.pipelined_max": ("unit/web/test_pipelined.py::test_pipelined_max",),
    "web.keep_alive_seconds_max": (f"{WEB}::test_keep_alive_seconds_max",),
    "web.send_stall_seconds_max": ("unit/web/test_connection.py::test_an_answer_that_nobody_takes_ends",),
    "web.multipart_preamble_bytes_max": (f"{MULTIPART}::TestCaps::test_preamble",),
    "web.multipart_padding_bytes_max": (f"{MULTIPART}::TestCaps::test_padding",),
    "web.multipart_boundary_bytes_max": (f"{MULTIPART}::test_boundaries", f"{MULTIPART}::test_what_is_no_boundary"),
    "web.commits_outstanding_max": (f"{WEB}::test_commits_outstanding_max",),
    "web.query_parameters_max": ("unit/web/test_qido.py::test_parameters",),
    "web.accept_ranges_max": (f"{WEB}::test_accept_ranges_max",),
    "web.frames_per_request_max": ("unit/web/test_wado.py::TestFrames::test_frames_at_once",),
    "web.read_threads": (f"{WEB}::test_read_threads",),
    "web.read_chunk_bytes": (f"{WEB}::test_read_chunk_bytes",),
    "web.event_streams_max": (f"{WEB}::test_event_streams_max",),
    "web.event_streams_of_one_max": (f"{WEB}::test_event_streams_max",),
    "archive.transfer_bytes_max": (f"{ENGINE}::test_transfer_bytes_max",),
    "archive.staging_inline_bytes_max": (f"{ENGINE}::test_staging_inline_bytes_max",),
    "archive.slow_write_seconds": (f"{ENGINE}::test_slow_write_seconds",),
    "archive.slow_write_pending_bytes_max": (f"{ENGINE}::test_slow_write_pending_bytes_max",),
    "archive.unsynced_bytes_max": (f"{ENGINE}::test_unsynced_bytes_max",),
    "archive.metadata_part_characters": (f"{ENGINE}::test_metadata_part_characters",),
    "archive.metadata_held_bytes_max": (f"{ENGINE}::test_metadata_held_bytes_max",),
    "archive.compared_metadata_bytes_max": (f"{ENGINE}::test_compared_metadata_bytes_max",),
    "archive.audit_seconds_max": (
        f"{COMMITTER}::test_audit_seconds_max",
        f"{COMMITTER}::test_audit_rows_ride_with_a_batch_or_alone",
    ),
    "archive.audit_rows_max": (f"{ENGINE}::test_audit_rows_max",),
    "archive.rows_inline_max": (f"{COMMITTER}::test_rows_inline_max",),
    "archive.audit_rows_inline_max": (f"{COMMITTER}::test_audit_rows_inline_max",),
    "archive.rows_inline_characters_max": (f"{COMMITTER}::test_rows_inline_characters_max",),
    "archive.slow_rows_seconds": (f"{COMMITTER}::test_slow_rows_seconds",),
    "archive.commit_batch_max": (f"{COMMITTER}::test_commit_batch_max",),
    "archive.commit_queue_max": ("unit/archive/test_ingest.py::test_a_full_queue_is_busy",),
    "archive.directory_files_max": (f"{ENGINE}::test_directory_files_max",),
    "archive.sync_threads": (f"{ENGINE}::test_query_threads_and_sync_threads",),
    "archive.query_threads": (f"{ENGINE}::test_query_threads_and_sync_threads",),
    "archive.query_rows_max": (f"{QUERY}::test_the_row_budget",),
    "archive.query_seconds_max": (f"{QUERY}::test_query_seconds_max", f"{QUERY}::test_the_time_budget"),
    "archive.query_pattern_characters_max": (
        "unit/archive/test_patterns.py::test_the_budget_of_patterns",
        "unit/web/test_qido.py::test_patterns_of_what_every_row_says_alike",
    ),
    "archive.scan_instances_max": ("unit/archive/test_search.py::test_the_budget_of_instances",),
    "archive.returned_bytes_max": (
        "unit/archive/test_search_pages.py::test_a_page_ends_where_what_it_returns_is_enough",
        "unit/services/test_query.py::test_matches_of_several_pages",
    ),
    "archive.scan_metadata_bytes_max": ("unit/archive/test_search.py::test_the_budget_of_metadata",),
    "archive.discrepancies_bytes_max": ("unit/archive/test_discrepancies.py::test_discrepancies_bytes_max",),
    "archive.free_bytes_min": (f"{ENGINE}::test_free_bytes_min",),
    "archive.transcoded_max": ("unit/archive/test_transcoding.py::test_so_many_at_once",),
    "archive.transcoded_wait_seconds_max": (
        "unit/archive/test_transcoding.py::test_nobody_waits_for_a_place_without_end",
        "unit/archive/test_transcoding.py::test_so_many_at_once",
    ),
    "archive.delete_grace_seconds": (f"{ENGINE}::test_delete_grace_seconds",),
    "archive.originals_grace_seconds": ("unit/archive/test_by_rule.py::test_the_original_goes_after_its_grace",),
    "archive.transcode_seconds_max": ("unit/archive/test_by_rule_failed.py::test_transcode_seconds_max",),
    "archive.collect_every_seconds": ("unit/archive/test_deletion.py::test_the_collector_comes_round_by_itself",),
    "archive.import_transfers": (f"{ENGINE}::test_import_transfers",),
    "archive.zip_members_max": (f"{IMPORT}::test_the_number_of_zip_members_is_bounded",),
    "archive.zip_ratio_max": (f"{ENGINE}::test_zip_ratio_max_and_zip_ratio_free_bytes",),
    "archive.zip_ratio_free_bytes": (f"{ENGINE}::test_zip_ratio_max_and_zip_ratio_free_bytes",),
    "archive.zip_bytes_max": (f"{IMPORT}::test_the_bytes_of_a_zip_file_are_bounded",),
    "archive.drain_seconds_max": ("unit/test_serve.py::test_drain_seconds_max",),
    "web.pictures_ahead_max": ("unit/web/test_ahead.py::test_pictures_ahead_max",),
    "web.thumbnail_side": ("interop/test_rendered.py::test_thumbnails_of_everything_and_every_level",),
    "web.thumbnails_bytes_max": (
        "unit/web/test_shelf.py::test_the_least_used_goes_first",
        "unit/web/test_shelf.py::test_one_that_is_too_large_is_not_kept",
    ),
    "web.pictures_bytes_max": (
        "unit/web/test_shelf.py::test_the_least_used_goes_first",
        "interop/test_rendered_kept.py::test_how_much_is_kept_is_a_limit",
    ),
    "workers.workers": (f"{POOL}::test_as_many_work_at_once",),
    "workers.memory_bytes_max": (f"{POOL}::test_memory_is_bounded",),
    "workers.seconds_max": (f"{POOL}::test_a_hang_is_ended",),
    "workers.waiting_max": (f"{POOL}::test_waiting_is_bounded",),
    "workers.requests_max": (
        f"{POOL}::test_requests_max",
        f"{POOL}::test_workers_are_replaced_after_so_many_requests_and_keep_no_files_open",
    ),
    "workers.idle_seconds": (f"{POOL}::test_idle_workers_end",),
    "pixels.frame_pixels_max": ("unit/pixels/test_description.py::test_frame_pixels_max",),
    "pixels.frame_bytes_max": ("unit/pixels/test_description.py::test_frame_bytes_max",),
}

OTHERWISE = {
    "archive.collect_every_seconds": "how often, not how much: the collector is seen to come again and again",
    "archive.transcode_seconds_max": "the time of another process: one that has too little is ended, and no other",
    "archive.transcoded_max": "one test takes places one by one: the first, the last, and the one that has to wait",
    "archive.transcoded_wait_seconds_max": "a short time is over while a place is taken, a long one is not",
    "web.thumbnail_side": "what is made when a client says nothing",
    "workers.idle_seconds": "a time of other processes: they are seen to end, and to be started again",
    "workers.memory_bytes_max": "the kernel counts: twice as much is refused, a little is answered",
    "workers.seconds_max": "the time of another process: one that hangs is ended, and one that has more is not",
}


def limits() -> set[str]:
    whole = Limits()
    return {
        f"{part.name}.{limit.name}"
        for part in dataclasses.fields(whole)
        for limit in dataclasses.fields(getattr(whole, part.name))
    }


@cache
def points_in(file: str) -> dict[str, int]:
    """The tests in a file, as pytest names them: how many points each walks, by its cases or by a loop within."""
    found = {}
    named: dict[str, ast.expr] = {}
    for node in ast.parse((TESTS / file).read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named[node.targets[0].id] = node.value
        elif isinstance(node, ast.ClassDef):
            tests = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            found |= {f"{node.name}::{each.name}": max(cases(node, named), points(each, named)) for each in tests}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = points(node, named)
    return found


def points(test: ast.FunctionDef | ast.AsyncFunctionDef, named: dict[str, ast.expr]) -> int:
    loops = [node.iter for node in ast.walk(test) if isinstance(node, ast.For)]
    return max([cases(test, named), *(listed(each) for each in loops)])


def cases(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, named: dict[str, ast.expr]) -> int:
    """Of the `parametrize` with most of them, written here or under a name of this file."""
    marks = [named.get(each.id, each) if isinstance(each, ast.Name) else each for each in node.decorator_list]
    called = [each for each in marks if isinstance(each, ast.Call) and ast.unparse(each.func).endswith("parametrize")]
    values = [named.get(each.id, each) if isinstance(each, ast.Name) else each for each in (c.args[1] for c in called)]
    return max([1, *map(listed, values)])


def listed(values: ast.expr) -> int:
    return len(values.elts) if isinstance(values, ast.List | ast.Tuple) else 1


def test_every_limit_has_a_row() -> None:
    assert limits() == set(WALKED)


@pytest.mark.parametrize("limit", sorted(WALKED))
def test_its_boundary_is_walked(limit: str) -> None:
    walked = []
    for node in WALKED[limit]:
        file, _, test = node.partition("::")
        assert test in points_in(file), node
        assert test.rpartition("::")[2].startswith("test_")
        walked.append(points_in(file)[test])
    assert max(walked) >= 3 or limit in OTHERWISE, walked


def test_what_is_otherwise_is_a_limit() -> None:
    assert OTHERWISE.keys() <= limits()
