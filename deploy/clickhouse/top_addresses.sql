-- The three addresses with the most connections in each minute of a day, over all machines.
-- clickhouse-client --param_day="$(date --utc +%F)" --queries-file top_addresses.sql
SELECT
    toStartOfMinute(time) AS minute,
    remote_address,
    count() AS connections,
    uniqExact(host) AS machines
FROM conn_cli
WHERE type = 'connection' AND toDate(time) = {day:Date} AND remote_address IS NOT NULL
GROUP BY minute, remote_address
ORDER BY minute, connections DESC, remote_address
LIMIT 3 BY minute;
