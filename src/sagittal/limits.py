"""Every limit of the archive: name, unit in the name, default, and the reason beside it.

Frozen and handed down from `serve`; the standard library only. A setting `[limits]` of the configuration replaces
values by name. A limit that is exceeded raises `LimitExceeded` or `Malformed` (see the policy table in
`dicom.defects`).
"""

from __future__ import annotations

from dataclasses import dataclass

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30

BYTES_A_FRAGMENT = 12  # of the frame index: its length, the code stream that begins there, the frame that does
METADATA_PARTS_HELD = 4  # being gathered, joined, and two that wait to be compressed
HEADERS_HELD_BYTES_MAX = 256 * KiB  # compressed; by a worker, of objects it had lately: some eighty, about 25 MB open

CHARACTER_SETS_MAX = 64  # values of one (0008,0005); there are 32 defined terms (PS3.3 C.12.1.1.2)
NAME_WORD_CHARACTERS_MAX = 64  # of a component group (PS3.5 6.2): a longer word has no other spelling to be found by
NAME_WORDS_MAX = 100  # of one name in the index, and of one key; real ones have ten
NAME_FOLDED_CHARACTERS_KEPT = 256  # a longer name is no longer one, and not kept folded in memory


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """What one data set may cost the bounded reader."""

    depth_max: int = 128  # peers chose 100 and 256; real objects stay below 10
    elements_max: int = 20_000_000  # 200,000 per-frame items of ~60 elements
    sequence_whole_bytes_max: int = 2 * KiB  # shorter elements and sequences are read, and remembered, whole
    value_text_bytes_max: int = 64 * KiB  # longer text and number values become bulk data in the metadata
    value_binary_bytes_max: int = 1 * KiB  # longer binary values become bulk data in the metadata
    value_held_bytes_max: int = 64 * KiB  # any value kept whole in memory while reading
    metadata_flush_characters: int = 128 * KiB  # metadata text held before it goes to the sink
    frames_max: int = 1_000_000  # fragments; the index of an object holds 12 bytes for each
    identifier_elements_max: int = 4_096  # of a query or retrieval: decoded whole, on the loop; real ones have 100
    identifier_inflated_bytes_max: int = 1 * MiB  # as of one that does not come deflated (net.identifier_bytes_max)
    meta_group_bytes_max: int = 64 * KiB  # that of a file; real ones stay below 1 KiB
    inflate_ratio_max: int = 200  # deflate itself reaches 1032; real headers 3-10
    inflate_ratio_free_bytes: int = 64 * MiB  # the ratio counts beyond this: an empty segmentation reaches 1000
    inflate_bytes_max: int = 4 * GiB  # of one deflated data set
    data_set_bytes_max: int = 1 << 40  # a whole slide has some 10 GiB; nobody sends a TiB in earnest


@dataclass(frozen=True, slots=True)
class NetLimits:
    """What one peer may cost the DIMSE listener."""

    pdu_receive_bytes_max: int = 256 * KiB  # Maximum Length Received that we announce
    associate_pdu_bytes_max: int = 192 * KiB  # 128 contexts with all transfer syntaxes that there are, and roles
    presentation_contexts_max: int = 128  # odd ids 1..255
    receive_buffer_bytes: int = 256 * KiB  # one socket read
    command_set_bytes_max: int = 16 * KiB  # real ones stay below 1 KiB; Attribute Identifier List may be long
    identifier_bytes_max: int = 1 * MiB  # C-FIND, C-MOVE, C-GET keys
    failed_list_bytes_max: int = 64 * MiB  # UIDs that a retrieval failed for, beyond that; a million
    associations_max: int = 500  # each may hold transfer_bytes_max, though few do
    associations_per_title_max: int = 400  # of one calling AE title, so that nobody keeps all others out
    connections_unassociated_max: int = 2_500  # silent sockets; 2,000 must not lock anybody out
    connections_per_address_max: int = 2_500  # behind a gateway or NAT all peers have one; lower it where none is
    artim_seconds: float = 30.0  # the whole negotiation, not each byte (PS3.8 9.1.5)
    idle_seconds_max: float = 600.0  # an association without traffic
    receive_bytes_per_second_min: int = 1_000  # progress floor inside a message, averaged over 30 s
    progress_window_seconds: float = 30.0  # a link that stutters for less is not slow
    send_stall_seconds_max: float = 60.0  # a peer that takes nothing of what we send
    operations_max: int = 8  # at once on one association, for a peer that negotiates a window; as many more may wait
    peer_pdu_bytes_min: int = 256  # a smaller Maximum Length would cost a PDU every few bytes
    connect_seconds_max: float = 10.0  # a host that is down answers nothing at all
    response_seconds_max: float = 120.0  # waiting for a peer's answer as SCU
    move_seconds_max: float = 3_600.0  # the same of C-MOVE: not every peer tells of it while it sends elsewhere


@dataclass(frozen=True, slots=True)
class WebLimits:
    """What one client may cost the HTTP listener."""

    header_seconds_max: float = 15.0  # a whole request head; who drips it holds a connection
    connections_max: int = 1_000  # a browser holds six; a descriptor each
    request_buffer_bytes: int = 640 * KiB  # one socket read, of a CT image whole; a connection may hold as much
    body_bytes_per_second_min: int = 1_000  # progress floor inside a body, of a request or of an answer
    request_line_and_headers_bytes_max: int = 64 * KiB  # a query of 200 keys, and a token of some KiB
    multipart_header_bytes_max: int = 8 * KiB  # of one part; real ones stay below 500 bytes
    multipart_headers_max: int = 16  # of one part; real ones have two to four
    parts_max: int = 100_000  # of a store request; and instances of its metadata
    results_default: int = 1_000  # of a search without `limit`; the Link header leads on
    results_max: int = 10_000  # of one answer: some 10 MB of JSON
    results_whole_max: int = 500  # of one answer with includefield=all: a row may be 64 KiB and more
    json_body_bytes_max: int = 2 * MiB  # metadata of one instance that comes without its file: 25 times as much, parsed
    api_body_bytes_max: int = 1 * MiB  # a body for /api, parsed on the loop; 100,000 corrections taken back have 800 KB
    pipelined_max: int = 100  # requests of a connection behind the one at work; a browser sends none
    keep_alive_seconds_max: float = 60.0  # a connection between two requests
    send_stall_seconds_max: float = 60.0  # a client that takes nothing of its answer, or less than that floor
    multipart_preamble_bytes_max: int = 4 * KiB  # RFC 2046 allows one; real clients send none or an empty line
    multipart_padding_bytes_max: int = 1 * KiB  # blanks after a boundary: gateways fill lines up to 998 (RFC 5322)
    multipart_boundary_bytes_max: int = 200  # RFC 2046 says 70; some clients join two UUIDs and a name
    commits_outstanding_max: int = 64  # of one STOW request; group commit needs some, memory wants few
    query_parameters_max: int = 200  # more than any form has; each may become a condition
    accept_ranges_max: int = 64  # each is compared with each media type that there is
    frames_per_request_max: int = 10_000  # a part each; a part has some 100 bytes of headers
    read_threads: int = 4  # they read files; what is in memory is answered without them
    read_chunk_bytes: int = 1 * MiB  # one read of the volume and one write to the socket
    event_streams_max: int = 100  # a connection each, held open; pages in browsers have one
    event_streams_of_one_max: int = 50  # of one token, or of all without: others get in, too
    pictures_ahead_max: int = 16  # frames or instances drawn before who goes through them asks; 0: none
    thumbnail_side: int = 200  # pixels, where a client doesn't say
    thumbnails_bytes_max: int = 32 * MiB  # made already and kept in memory: some 5,000
    pictures_bytes_max: int = 64 * MiB  # rendered ones made already and kept in memory: some 1,000 CT images as JPEG


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What the engine holds and how it commits."""

    transfer_bytes_max: int = 16 * MiB  # memory for one transfer, whatever the object: see `Limits.transfer_bytes`
    staging_inline_bytes_max: int = 64 * KiB  # smaller objects get their file only when they are complete
    slow_write_seconds: float = 0.01  # one write that took longer: from now on a thread writes, the loop stays free
    slow_write_pending_bytes_max: int = 512 * KiB  # of one transfer, waiting for that thread
    unsynced_bytes_max: int = 64 * MiB  # of one transfer; then a thread syncs, so that no commit waits for gigabytes
    metadata_part_characters: int = 512 * KiB  # metadata is compressed, kept and read in parts of this
    metadata_held_bytes_max: int = 1 * MiB  # compressed parts of one transfer in memory; more goes to staging
    compared_metadata_bytes_max: int = 16 * MiB  # a colliding instance with more counts as other content
    audit_seconds_max: float = 1.0  # an audit row waits so long for a batch; how often an idle committer looks around
    audit_rows_max: int = 100_000  # 40 MB; while the index cannot be written, nothing is done that would need more
    rows_inline_max: int = 8  # objects of a batch whose rows the loop writes itself, 0.2 ms each; of more, a thread
    audit_rows_inline_max: int = 100  # that go with them, 5 µs each
    rows_inline_characters_max: int = 64 * KiB  # of an object's metadata, which it compresses, too: 0.5 ms
    slow_rows_seconds: float = 0.005  # what the loop wrote took longer, or by a thread one object: a thread writes on
    commit_batch_max: int = 256  # the first of a batch waits until the last is synced
    commit_queue_max: int = 2_000  # senders wait for their answers; more is refused as busy
    directory_files_max: int = 10_000  # a new directory then: listing and copying a larger one is slow
    sync_threads: int = 4  # files of one batch that are synced at one time
    query_threads: int = 2  # readers of the index, one kept for what is short; SQLite gives the interpreter up
    query_rows_max: int = 100_000  # of one C-FIND; a query that answers more is one by mistake
    query_seconds_max: float = 10.0  # a query that no index answers holds a reader thread so long at the most
    query_pattern_characters_max: int = 8 * KiB  # of names and wildcards: 100 names have 6,400; SQLite takes 50,000
    scan_instances_max: int = 25_000  # whose metadata one query may read, for keys that no index answers: a second
    scan_metadata_bytes_max: int = 16 * MiB  # parsed for one instance of them; a thousand frames have some 8 MiB
    returned_bytes_max: int = 16 * MiB  # of one page, of what no index has: 500 rows of all that CT images say
    discrepancies_bytes_max: int = 4 * MiB  # compared of what comes back or is read again; of more, 5,000 objects
    free_bytes_min: int = 256 * MiB  # refuse before full
    transcoded_max: int = 64  # objects at once in another syntax for peers and clients, a file each while it is sent
    transcoded_wait_seconds_max: float = 60.0  # for a place among them: who takes nothing has lost its own by then
    delete_grace_seconds: int = 30 * 86_400  # what is deleted can come back so long: a month
    originals_grace_seconds: int = 7 * 86_400  # of originals transcoded by rule; longer than any backup takes
    transcode_seconds_max: float = 600.0  # of one object by rule: a slide has 100,000 frames, and nobody waits for it
    collect_every_seconds: float = 3_600.0  # how often bytes are removed whose grace period is over
    import_transfers: int = 8  # files of one import that are under way at one time, so that commits have batches
    zip_members_max: int = 1_000_000  # their directory is held in memory, some 500 bytes each
    zip_ratio_max: int = 200  # inflated to deflated bytes of one member; pixels reach 3-10
    zip_ratio_free_bytes: int = 64 * MiB  # the ratio counts beyond this: an empty segmentation reaches 1000
    zip_bytes_max: int = 1 << 40  # inflated, of one zip file
    drain_seconds_max: float = 8.0  # so that the process has ended within 10 s of SIGTERM, on a busy machine too


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What the processes that decode, render and build long answers may take."""

    workers: int = 0  # processes; 0: as many as there are processors
    memory_bytes_max: int = 4 * GiB  # address space of one: a frame of a whole slide decodes within
    seconds_max: float = 60.0  # one request; then its process is killed
    waiting_max: int = 256  # requests that wait for a process; more are refused as busy
    requests_max: int = 2_000  # then a process is replaced, whatever its libraries may have leaked
    idle_seconds: float = 300.0  # without a request, then all of them end


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """What decoding one frame may cost; checked against the declared geometry before a codec sees a byte."""

    frame_pixels_max: int = 1 << 28  # 16,384 x 16,384; a mammogram has 2^24.5, a slide's tile 2^16
    frame_bytes_max: int = 1 * GiB  # of the decoded frame; encoders and decoders take about twice as much again


# How many do something at one time; all others may be 0, which allows nothing.
_AT_LEAST_ONE = {
    "web": ("read_threads",),
    "archive": ("sync_threads", "query_threads", "import_transfers", "transcoded_max"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """All of them, as `serve` hands them down."""

    reader: ReaderLimits = ReaderLimits()
    net: NetLimits = NetLimits()
    web: WebLimits = WebLimits()
    archive: ArchiveLimits = ArchiveLimits()
    workers: WorkerLimits = WorkerLimits()
    pixels: PixelLimits = PixelLimits()

    def __post_init__(self) -> None:
        """ValueError when nothing could be done, or the limits together allow one transfer more than
        `transfer_bytes_max`.
        """
        for part, names in _AT_LEAST_ONE.items():
            if none := next((name for name in names if getattr(getattr(self, part), name) < 1), ""):
                raise ValueError(f"{none} is at least 1")
        if self.transfer_bytes > self.archive.transfer_bytes_max:
            told = f"{self.transfer_bytes} bytes, more than transfer_bytes_max ({self.archive.transfer_bytes_max})"
            raise ValueError(f"these limits allow one transfer {told}")

    @property
    def transfer_bytes(self) -> int:
        """What one transfer may hold at one time, by the limits of its parts."""
        archive = self.archive
        metadata = METADATA_PARTS_HELD * archive.metadata_part_characters + archive.metadata_held_bytes_max
        written = archive.staging_inline_bytes_max + archive.slow_write_pending_bytes_max
        read = max(self.net.receive_buffer_bytes, self.web.request_buffer_bytes) + self.reader.value_held_bytes_max
        return self.reader.frames_max * BYTES_A_FRAGMENT + metadata + written + read
