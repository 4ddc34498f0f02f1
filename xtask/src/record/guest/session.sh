# What a session is made of: a server, perhaps under another program, its clients,
# and a line in the index for each file that was recorded.

# serve SESSION [ARGUMENT...]: starts a server. $UNDER is the program that runs it,
# $TO where the standard error of both goes, $SERVER the server's name.
serve() {
    session=$1
    shift
    rm -f /run/ready /run/stdin
    mkfifo /run/stdin
    ${UNDER:-} "${SERVER:-conn-server}" record-serve --counts "/truth/$session" --ready /run/ready "$@" \
        < /run/stdin 2> "${TO:-/dev/stderr}" &
    server=$!
    exec 9> /run/stdin
    until [ -e /run/ready ]; do sleep 0.1; done
    # Threads are to wait in accept before the first client comes.
    sleep 0.5
}

# Ends the server, which then writes what it counted.
stop() {
    exec 9>&-
    wait "$server"
}

# connect ADDRESS:PORT CLIENT=COUNT...
connect() { conn-client record-connect "$@" 9>&-; }

# describe FILE FORMAT SESSION COMMAND [KEY=VALUE...]: says what a file is.
describe() {
    [ -s "$1" ] || { echo "error: $1 is empty"; exit 1; }
    (IFS='	'; echo "$*") >> /truth/index.tsv
}

# count_syns: has the kernel count the SYNs of each client, apart from any recording.
count_syns() {
    nft delete table inet count 2>/dev/null || true
    nft -f - <<END
table inet count {
    set syns4 { type ipv4_addr . inet_service; flags dynamic; counter; size 999; }
    set syns6 { type ipv6_addr . inet_service; flags dynamic; counter; size 999; }
    chain arriving {
        type filter hook prerouting priority raw;
        meta nfproto ipv4 tcp flags & (syn | ack) == syn add @syns4 { ip saddr . tcp dport }
        meta nfproto ipv6 tcp flags & (syn | ack) == syn add @syns6 { ip6 saddr . tcp dport }
    }
}
END
}

# counted SESSION: appends to its counts what the kernel counted: `syns PORT CLIENT COUNT`.
counted() {
    for family in 4 6; do
        nft -n list set inet count syns$family
    done | tr ',{}' '\n\n\n' |
        awk '/ counter packets /{ print "syns", $3, $1, $6 }' >> "/truth/$1"
}
