-- The addresses whose first connection to any machine was on this day, as far back as the table goes. An address that
-- an undated line names is known from the day on which that was inserted.
-- clickhouse-client --param_day="$(date --utc +%F)" --queries-file new_addresses.sql
SELECT
    remote_address,
    min(time) AS first_seen,
    count() AS connections,
    groupUniqArray(host) AS machines
FROM conn_cli
WHERE type = 'connection' AND remote_address IS NOT NULL
    AND coalesce(toDate(time), toDate(inserted, 'UTC')) <= {day:Date}
GROUP BY remote_address
HAVING min(coalesce(toDate(time), toDate(inserted, 'UTC'))) = {day:Date} AND first_seen IS NOT NULL
ORDER BY first_seen, remote_address;
