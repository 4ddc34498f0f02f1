-- How many connections the runs on each machine had, which of them are lower bounds, and for how many of them there
-- are lines in this table.
-- clickhouse-client --queries-file totals.sql
SELECT
    host,
    sumIf(connections, type = 'summary') AS connections,
    countIf(type = 'summary' AND at_least) AS runs_with_lower_bounds,
    countIf(type = 'connection') AS lines,
    min(coalesce(begin, time)) AS first,
    max(coalesce(end, time)) AS last
FROM conn_cli
WHERE type IN ('connection', 'summary')
GROUP BY host
ORDER BY host;
