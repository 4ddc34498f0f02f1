# Tools that show connections as they come.

# watch FILE COMMAND...: starts a tool, and waits until it writes the heading of its table, if $HEADING is one.
watches=
watch() {
    file=$1
    shift
    # In the background, the shell makes it ignore the interrupt that ends it.
    PYTHONUNBUFFERED=1 env --default-signal=INT "$@" > "$file" 2> "$file.errors" 9>&- &
    watches="$watches $!:$file"
    echo "guest: starts $*"
    until grep -q "$HEADING" "$file" || [ -z "$HEADING" ]; do
        kill -0 $! || { cat "$file.errors"; exit 1; }
        sleep 0.1
    done
}

# Ends all tools, none of which may have lost an event.
watched() {
    sleep 3
    for each in $watches; do
        kill -INT "${each%%:*}"
        wait "${each%%:*}" || true
        ! grep -i lost "${each#*:}.errors" || exit 1
        cat "${each#*:}.errors"
        rm "${each#*:}.errors"
    done
    watches=
}

# Clients of a server of each family, and of one of both.
tool_clients() {
    connect 127.0.0.1:80 127.0.0.2=4 127.0.0.3=2
    connect '[::1]:80' ::1=2 fd00::2=1
    connect 127.0.0.1:8080 127.0.0.2=1 127.0.0.5=2
    connect '[::1]:8080' fd00::3=1
    connect --refused 127.0.0.1:81 127.0.0.9=2
}
SERVE_TOOLS='0.0.0.0:80 [::1]:80 [::]:8080'
