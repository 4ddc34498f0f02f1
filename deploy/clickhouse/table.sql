-- The lines of `conn-cli --json`: connections, intervals, summaries. docs/json.md describes the fields; those that
-- have no column here are skipped, if the insert says so (insert.sql).

CREATE TABLE IF NOT EXISTS conn_cli
(
    type            LowCardinality(String),
    host            LowCardinality(String) COMMENT 'the machine; empty if not known',

    -- A connection.
    stage           LowCardinality(String),
    -- Not all records have a time. Without Nullable such a line would be of 1970.
    time            Nullable(DateTime64(6, 'UTC')),
    recorded_time   String COMMENT 'an incomplete time, as it was recorded',
    remote_address  Nullable(IPv6) COMMENT 'IPv4 as ::ffff:192.0.2.1',
    remote_name     String,
    remote_port     Nullable(UInt16),
    network_name    LowCardinality(String),
    local_address   Nullable(IPv6),
    local_port      Nullable(UInt16),
    pid             Nullable(UInt32),
    comm            LowCardinality(String),
    uid             Nullable(UInt32),
    cgroup          Nullable(UInt64),
    netns           Nullable(UInt32),
    wait            Nullable(Float64) COMMENT 'in seconds',
    hook            LowCardinality(String),
    source          LowCardinality(String),

    -- A summary, or the totals so far; `connections` also in an interval.
    begin           Nullable(DateTime64(6, 'UTC')),
    end             Nullable(DateTime64(6, 'UTC')),
    connections     Nullable(UInt64),
    exact           Nullable(Bool),
    at_least        Nullable(Bool),
    lines_shown     Nullable(UInt64),
    lines_not_shown Nullable(UInt64),
    missed_runs     Nullable(UInt64),
    unaccounted     Nullable(UInt64),
    clients         Array(Tuple(address Nullable(IPv6), name String, connections UInt64)),

    -- An interval.
    start           Nullable(DateTime64(6, 'UTC')),
    seconds         Nullable(Float64),
    lost            Nullable(UInt64),
    dropped         Nullable(UInt64),

    -- Who makes too many connections (--over), besides start, seconds, connections and network_name.
    above           Nullable(Bool),
    address         Nullable(IPv6),
    network         String,
    port            Nullable(UInt16),
    `limit`         Nullable(UInt32),

    inserted        DateTime DEFAULT now(),
    INDEX by_time time TYPE minmax
)
ENGINE = MergeTree
ORDER BY (type, host, inserted)
PARTITION BY toYYYYMM(inserted)
-- Not of `time`: lines without one, and those of old logs, would be gone right after the insert, without an error.
TTL inserted + INTERVAL 90 DAY;
