# What a session is made of: a server, perhaps under another program, its clients,
# and a line in the index for each file that was recorded.

# serve SESSION [ARGUMENT...]: starts a server. $UNDER is the program that runs it,
# $TO where the standard error of both goes.
serve() {
    session=$1
    shift
    rm -f /run/ready /run/stdin
    mkfifo /run/stdin
    ${UNDER:-} conn-server record-serve --counts "/truth/$session" --ready /run/ready "$@" \
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
