//! Every bound of the system, with its unit. At a bound the caller gets a typed error at once.

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// Largest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most tags of one entry.
pub const TAGS_MAX: usize = 16;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 128;
/// Longest namespace, cluster or node name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest name of the JSON field that a namespace indexes, in bytes.
pub const FIELD_BYTES_MAX: usize = 128;
/// Most namespaces of one cluster.
pub const NAMESPACES_MAX: usize = 4096;
/// Longest time to live, in milliseconds: a hundred years.
pub const TTL_MS_MAX: u64 = 100 * 366 * 24 * 3600 * 1000;

/// Largest packet between two processes, in bytes. Equal on every node: a larger one ends a session.
pub const PACKET_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most bytes that a link coalesces into one packet, unless a single frame is larger.
pub const PACKET_COALESCE_BYTES: usize = 256 * 1024;
/// Most frames that a link coalesces into one packet.
pub const PACKET_COALESCE_FRAMES: usize = 256;
/// Most frames queued or unacknowledged on one link; beyond it frames are refused.
pub const LINK_FRAMES_MAX: usize = 32 * 1024;
/// Most bytes queued or unacknowledged on one link; beyond it frames are refused.
pub const LINK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most bytes of records in one reply to a catch-up, scan or search request.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Most entries in one page of a scan.
pub const SCAN_LIMIT_MAX: usize = 10_000;
/// Most entries in one page of a replica's change log.
pub const CHANGES_PAGE_MAX: usize = 1024;
/// Most hits of one search.
pub const TOP_K_MAX: usize = 1000;
/// Most candidates that a search asks of one index partition.
pub const SEARCH_CANDIDATES_MAX: usize = 8 * TOP_K_MAX;
/// Longest text of a search, in bytes.
pub const QUERY_BYTES_MAX: usize = 64 * 1024;

/// Fewest and most shards of a cluster, and the default.
pub const SHARDS_MIN: u16 = 1;
/// Most shards of a cluster.
pub const SHARDS_MAX: u16 = 4096;
/// Shards of a cluster unless told otherwise.
pub const SHARDS_DEFAULT: u16 = 64;
/// Replicas of each shard, where the cluster has so many members.
pub const REPLICAS: usize = 3;
/// Most members of a cluster.
pub const MEMBERS_MAX: usize = 256;
/// Processes of one member of which its peers remember what they must have found on their disk.
pub const MEMBER_LIVES_MAX: usize = 64;

/// Most operations in flight in one replicator; beyond it callers get `Overloaded`.
pub const REPLICATOR_OPERATIONS_MAX: usize = 4096;
/// Most scans, searches and the like in flight in one coordinator; beyond it callers get
/// `Overloaded`.
pub const COORDINATOR_OPERATIONS_MAX: usize = 1024;
/// Most operations queued on one key; beyond it callers get `Overloaded`.
pub const KEY_QUEUE_MAX: usize = 48;
/// Bytes of registers that one replicator keeps ready for one-round-trip writes.
pub const PROPOSER_CACHE_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of records that one shard keeps in memory unless configured otherwise.
pub const RECORD_CACHE_BYTES_DEFAULT: usize = 8 * 1024 * 1024;
/// Most damaged records of a shard that are remembered until they are rebuilt.
pub const DAMAGED_RECORDS_MAX: usize = 1024;
/// Records of a shard that are checked for damage at a time.
pub const SCRUB_RECORDS: usize = 128;
/// How often so many records of a shard are checked, in milliseconds.
pub const SCRUB_EVERY_MS_DEFAULT: u64 = 30_000;
/// Most requests that wait in one shard behind loads or appends.
pub const SHARD_WAITING_MAX: usize = 16 * 1024;

/// Most appends that wait in a node's store; beyond it callers get `Overloaded`.
pub const STORE_APPENDS_MAX: usize = 16 * 1024;
/// Most bytes of appends that wait in a node's store, unless a single append is larger.
pub const STORE_APPEND_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most appends in one group commit.
pub const STORE_GROUP_APPENDS_MAX: usize = 4096;
/// A group commit takes no further append once it has this many bytes.
pub const STORE_GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most reads that wait in a node's store; beyond it callers get `Overloaded`.
pub const STORE_READS_MAX: usize = 16 * 1024;
/// Most reads that one reader thread takes from the queue at a time.
pub const STORE_READ_DRAIN_MAX: usize = 16;
/// Reader threads of a node's store unless configured otherwise.
pub const STORE_READERS_DEFAULT: usize = 2;
/// Most reader threads of a node's store.
pub const STORE_READERS_MAX: usize = 64;
/// Longest key in the store, in bytes: a record's key with everything that is put before it.
pub const STORE_KEY_BYTES_MAX: usize = 2 * KEY_BYTES_MAX;
/// Bytes of the data disk that are kept free unless configured otherwise.
pub const STORE_FREE_BYTES_KEPT: u64 = 64 * 1024 * 1024;
/// Free space is looked at again after this many bytes were written.
pub const STORE_FREE_CHECK_BYTES: usize = 8 * 1024 * 1024;
/// Free space is looked at again after this time, in milliseconds.
pub const STORE_FREE_CHECK_MS: u64 = 1000;
/// A commit that takes longer than this counts as failed, in milliseconds.
pub const STORE_COMMIT_STALL_MS: u64 = 60_000;
/// Most problems that a check of a store describes; all of them are counted.
pub const STORE_PROBLEMS_MAX: usize = 20;

/// Most write ids that a register remembers.
pub const RECENT_WRITES_MAX: usize = 64;
/// Fewest write ids that a register remembers, however old.
pub const RECENT_WRITES_MIN: usize = 4;
/// How long a write id is remembered at least, up to [`RECENT_WRITES_MAX`], in milliseconds.
pub const RETRY_WINDOW_MS: u64 = 15_000;

/// Most requests that one client has in flight; further ones wait for their turn.
pub const CLIENT_IN_FLIGHT_MAX: usize = 8192;
/// Most requests of one bulk operation of a client that are in flight at a time.
pub const CLIENT_BULK_IN_FLIGHT_MAX: usize = 256;
/// Most seeds of one client; with all members they must fit into the list of dialled addresses.
pub const CLIENT_SEEDS_MAX: usize = 64;
/// Most rounds of a client's read, change and compare-and-set of one key.
pub const CLIENT_UPDATE_ROUNDS_MAX: u32 = 64;
/// Delay before the second retry of a request, in milliseconds, before jitter; it doubles.
pub const CLIENT_RETRY_MS_MIN: u64 = 5;
/// Longest delay between two attempts of a request, in milliseconds, before jitter.
pub const CLIENT_RETRY_MS_MAX: u64 = 320;

/// Prompts longer than this, in bytes, are found in a semantic cache only as the very same text.
pub const CACHE_SIMILAR_BYTES_MAX: usize = 512;
/// Entries that a lookup in a semantic cache looks at before it gives up.
pub const CACHE_CANDIDATES: u32 = 8;

/// Keys of one namespace and shard of which is remembered when they were used last.
pub const EVICTION_TRACKED_MAX: usize = 16 * 1024;
/// Entries that one sweep of a full namespace deletes at most.
pub const EVICTION_CANDIDATES_MAX: usize = 1024;
/// Most keys in one page of such a sweep.
pub const EVICTION_PAGE_MAX: u32 = 1000;
/// Pages that such sweeps of one shard read between two ticks.
pub const EVICTION_PAGES_PER_TICK: u32 = 4;
/// Deletions of full namespaces in one shard that are in flight at a time.
pub const EVICTIONS_IN_FLIGHT_MAX: usize = 16;
/// Such deletions that are begun between two ticks.
pub const EVICTIONS_PER_TICK_MAX: u32 = 256;

/// Most questions of standing queries that are open at one node; beyond it callers get
/// `Overloaded`.
pub const WATCHES_MAX: usize = 4096;
/// Most changes in one page of a standing query.
pub const WATCH_PAGE_MAX: usize = 128;
/// Most bytes in one page of a standing query, unless a single change is larger.
pub const WATCH_PAGE_BYTES_MAX: usize = 128 * 1024;
/// Most purged deletions that a replica remembers for standing queries; beyond it a client that missed
/// one reads its shard anew.
pub const WATCH_PURGED_MAX: usize = 1024;
/// How long a standing query waits for something to happen before it is asked again, in
/// milliseconds.
pub const WATCH_WAIT_MS_MAX: u64 = 10_000;
/// Keys of one shard of which a client remembers what it showed last.
pub const WATCH_SHOWN_MAX: usize = 1024;

/// How far a client's logical time may be ahead of a node's clock, in milliseconds: a day.
pub const CLIENT_AHEAD_MS_MAX: u64 = 24 * 3600 * 1000;
/// Longest a client request may take, in milliseconds.
pub const REQUEST_TIMEOUT_MS_MAX: u64 = 300_000;

/// Index partitions of a node unless configured otherwise; shard `s` is in partition `s mod P`. One
/// graph over everything costs least for each search; more of them share the work of one search, and of
/// indexing, between processors.
pub const INDEX_PARTITIONS_DEFAULT: u16 = 1;
/// Most index partitions of a node.
pub const INDEX_PARTITIONS_MAX: u16 = 64;
/// Most bytes of one entry's text that are indexed by words; the rest is not found.
pub const INDEX_WORDS_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of one entry's text whose meaning is embedded, in chunks.
pub const INDEX_MEANING_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of text that are embedded as one: about what fits the window of the built-in model,
/// 128 word pieces.
pub const INDEX_CHUNK_BYTES: usize = 480;
/// How many bytes of a chunk the next one repeats.
pub const INDEX_CHUNK_OVERLAP_BYTES: usize = 96;
/// Most chunks, and with them vectors, of one entry.
pub const INDEX_CHUNKS_MAX: usize = 32;
/// Most dimensions of an embedding.
pub const EMBEDDING_DIM_MAX: usize = 4096;
/// Longest name of an embedding model, in bytes.
pub const MODEL_ID_BYTES_MAX: usize = 128;
/// Most texts that an embedding model gets at once; larger batches are slower on a processor.
pub const EMBED_BATCH_MAX: usize = 32;
/// Most queries that wait to be embedded; beyond it callers get `Overloaded`.
pub const EMBED_QUERIES_MAX: usize = 256;
/// Most texts that wait to be embedded for the index; beyond it callers get `Overloaded`.
pub const EMBED_TEXTS_MAX: usize = 1024;
/// Most threads of one embedding model.
pub const EMBED_THREADS_MAX: usize = 64;
/// Vectors of recent texts that are kept in case the same text comes again.
pub const EMBED_CACHE_ENTRIES: usize = 4096;
/// Most different words of a query that are searched for; the rest is ignored.
pub const SEARCH_WORDS_MAX: usize = 64;
/// Deepest nesting of brackets in a text expression.
pub const EXPRESSION_DEPTH_MAX: usize = 16;
/// Most words of a text that entries similar to it are looked for by.
pub const SIMILAR_WORDS_MAX: usize = 25;
/// Most questions of fresh searches that wait in one shard.
pub const FRESH_WAITS_MAX: usize = 256;
/// Longest snippet of a hit, in bytes.
pub const SNIPPET_BYTES_MAX: usize = 240;
/// Most words that are marked in a snippet.
pub const SNIPPET_MARKS_MAX: usize = 16;
/// Most searches that wait in one index partition; beyond it callers get `Overloaded`.
pub const INDEX_QUERIES_MAX: usize = 256;
/// Most changes of one index partition that its full-text index has not committed.
pub const INDEX_UNCOMMITTED_MAX: usize = 4096;
/// Most texts of one index partition that wait for their vector; beyond it no changes are pulled.
pub const INDEX_PENDING_TEXTS_MAX: usize = 1024;
/// Most entries in one page of changes that an index partition asks for.
pub const INDEX_FEED_PAGE_MAX: usize = 128;
/// Rows at which the newest vectors of a namespace are sealed into a segment.
pub const SEGMENT_SEAL_ROWS: usize = 4096;
/// So many sealed vectors without a graph are merged into a segment that has one.
pub const SEGMENT_FLAT_ROWS: usize = 16 * 1024;
/// The same once nothing was written for [`SEGMENT_SETTLE_MS`]; fewer are compared one by one.
pub const SEGMENT_SETTLED_ROWS: usize = 4096;
/// Most vectors of one segment: what is held twice while segments are merged.
pub const SEGMENT_GRAPH_ROWS_MAX: usize = 100_000;
/// When nothing was written for so long, in milliseconds, merging pays even if there is little.
pub const SEGMENT_SETTLE_MS: u64 = 5_000;
/// A segment is written anew when so many hundredths of its vectors are dead.
pub const SEGMENT_DEAD_PERCENT: usize = 30;
/// Fewest dead vectors for which the newest vectors are looked through before they are sealed.
pub const SEGMENT_BUFFER_DEAD_MIN: usize = 256;
/// Pause after a merge of segments that failed, in milliseconds.
pub const SEGMENT_BUILD_RETRY_MS: u64 = 60_000;
/// Fewest vectors near a query that a graph is asked for. More miss less and cost more.
pub const SEARCH_WIDTH_MIN: usize = 64;
/// A prefix with no more keys than this is searched by comparing their vectors alone.
pub const SEARCH_PREFIX_KEYS_MAX: usize = 2048;
/// Merges of segments that wait for a node's background thread; beyond it they are tried later.
pub const BACKGROUND_JOBS_MAX: usize = 256;
/// Most stored vectors that an index partition reads at once.
pub const INDEX_LOAD_ENTRIES: usize = 1024;
/// Most texts of one index partition that are being embedded.
pub const INDEX_EMBEDS_IN_FLIGHT_MAX: usize = 64;
/// Most vectors that an index partition keeps for entries it has not learned yet.
pub const INDEX_EARLY_SHIPS_MAX: usize = 1024;
/// Most shipped vectors, and questions for vectors, that wait in one index partition; beyond it they
/// are computed where they are missing.
pub const INDEX_SHIPS_QUEUED_MAX: usize = 1024;
/// Most keys of one question for vectors.
pub const INDEX_WANTS_MAX: usize = 64;
/// A purge waits so long for an index that stands still, in milliseconds; then it goes on without.
pub const INDEX_STALLED_MS: u64 = 600_000;
/// How often a text is given to the embedder before it is given up for a while.
pub const EMBED_ATTEMPTS_MAX: u32 = 10;
/// A model counts as down after so many failures without a success between them.
pub const EMBED_DOWN_FAILURES: u32 = 8;
/// Most texts of one index partition that wait for a model that is down; the others wait in the
/// change log, so that they hold up no other model.
pub const INDEX_PENDING_DOWN_MAX: usize = 128;
/// Most entries of one index partition that are listed as not embedded; all of them are counted.
pub const INDEX_FAILURES_MAX: usize = 1024;
/// Most entries of one answer that lists what could not be embedded.
pub const FAILURES_LIMIT_MAX: usize = 1000;
/// How often an entry of an unknown namespace is looked at before it is passed over.
pub const NAMESPACE_TRIES_MAX: u32 = 60;
/// Most hits that an index partition returns.
pub const SEARCH_FETCH_MAX: usize = 8 * 1024;
/// Most orders that wait in one full-text index.
pub const TEXT_INDEX_QUEUE_MAX: usize = 2 * INDEX_UNCOMMITTED_MAX;

const _: () = assert!(2 * VALUE_BYTES_MAX + 64 * 1024 <= PACKET_BYTES_MAX);
const _: () = assert!(LINK_BYTES_MAX >= PACKET_BYTES_MAX);
const _: () = assert!(PACKET_COALESCE_BYTES + VALUE_BYTES_MAX < PACKET_BYTES_MAX);
const _: () = assert!(RECENT_WRITES_MIN <= RECENT_WRITES_MAX);
// A write that waits behind a full queue must still be remembered when its turn comes.
const _: () = assert!(KEY_QUEUE_MAX < RECENT_WRITES_MAX);
const _: () = assert!(REPLICAS % 2 == 1);
const _: () = assert!(STORE_GROUP_BYTES_MAX <= STORE_APPEND_BYTES_MAX);
const _: () = assert!(STORE_GROUP_APPENDS_MAX <= STORE_APPENDS_MAX);
const _: () = assert!(VALUE_BYTES_MAX <= STORE_GROUP_BYTES_MAX);
const _: () = assert!(STORE_READERS_DEFAULT <= STORE_READERS_MAX);
const _: () = assert!(STORE_FREE_CHECK_BYTES as u64 <= STORE_FREE_BYTES_KEPT / 2);
const _: () = assert!(INDEX_MEANING_BYTES_MAX <= QUERY_BYTES_MAX);
const _: () = assert!(INDEX_FEED_PAGE_MAX <= INDEX_PENDING_TEXTS_MAX);
const _: () = assert!(4 * INDEX_PENDING_DOWN_MAX < INDEX_PENDING_TEXTS_MAX);
const _: () = assert!(SEARCH_FETCH_MAX * (KEY_BYTES_MAX + 64) < PACKET_BYTES_MAX);
// Chunks are at least three quarters full.
const _: () = assert!(
    INDEX_CHUNKS_MAX * (INDEX_CHUNK_BYTES - INDEX_CHUNK_BYTES / 4 - INDEX_CHUNK_OVERLAP_BYTES)
        >= INDEX_MEANING_BYTES_MAX
);
const _: () = assert!(INDEX_CHUNKS_MAX * EMBEDDING_DIM_MAX * 4 < PAGE_BYTES_MAX);
const _: () = assert!(SEGMENT_SEAL_ROWS <= SEGMENT_FLAT_ROWS);
const _: () = assert!(SEGMENT_SETTLED_ROWS <= SEGMENT_FLAT_ROWS);
const _: () = assert!(SEGMENT_FLAT_ROWS <= SEGMENT_GRAPH_ROWS_MAX);
const _: () = assert!(2 * TOP_K_MAX + 16 <= SEARCH_FETCH_MAX);
const _: () =
    assert!(INDEX_PARTITIONS_DEFAULT as usize * INDEX_EMBEDS_IN_FLIGHT_MAX <= EMBED_TEXTS_MAX);
