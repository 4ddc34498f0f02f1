-- How many clients each machine had, and all of them together, at any time: also of runs with --quiet, of which only
-- the summaries tell the clients.
-- clickhouse-client --queries-file distinct_clients.sql
SELECT
    if(grouping(host) = 1, 'all machines', host) AS machine,
    uniqExact(client) AS clients
FROM
(
    SELECT host, coalesce(toString(remote_address), nullIf(remote_name, '')) AS client
    FROM conn_cli
    WHERE type = 'connection'
    UNION ALL
    SELECT host, coalesce(toString(client.address), nullIf(client.name, ''))
    FROM conn_cli
    ARRAY JOIN clients AS client
    WHERE type = 'summary'
)
WHERE client IS NOT NULL
GROUP BY GROUPING SETS ((host), ())
ORDER BY grouping(host), machine;
