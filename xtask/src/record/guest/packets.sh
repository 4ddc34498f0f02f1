# Packets, as tcpdump writes and tells them.

# What people take to see new connections. It says nothing of IPv6: `tcp[...]` is of IPv4 alone.
SYN='tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn'
SYN_OF_BOTH="$SYN or (ip6[6] == 6 and ip6[53] & 0x12 == 2)"

# capture OPTIONS...: starts a tcpdump, and waits until it captures.
captures=
capture() {
    errors=$(mktemp)
    tcpdump "$@" 2> "$errors" 9>&- &
    captures="$captures $!:$errors"
    until grep -q 'listening on' "$errors"; do sleep 0.1; done
}

# Ends all captures, none of which may have lost a packet.
captured() {
    sleep 2
    for each in $captures; do
        kill -INT "${each%%:*}"
        wait "${each%%:*}" || true
        grep -q '^0 packets dropped by kernel' "${each#*:}" || { cat "${each#*:}"; exit 1; }
    done
    captures=
}

# told FILE SESSION CAPTURE OPTIONS [KEY=VALUE...]: what tcpdump tells of a capture.
told() {
    told=packets/$1 told_session=$2 told_options=$4
    tcpdump $told_options -r "$3" > "$told" 2> /dev/null
    shift 4
    describe "$told" tcpdump "$told_session" "tcpdump $told_options -r CAPTURE" "$@"
}

# Everything that goes over lo, of two families and two ports, and one that refuses.
capture -i lo -w packets/lo.pcap tcp
capture -i lo --time-stamp-precision=nano -w packets/lo-nano.pcap "$SYN"
capture -i lo -s 54 -w packets/lo-snap54.pcap tcp
capture -i lo -s 60 -w packets/lo-snap60.pcap tcp
capture -i any -w packets/any.pcap tcp
capture -i any -y LINUX_SLL -w packets/any-sll.pcap tcp
capture -l -i lo tcp > packets/live-lo.txt
capture -l -i lo "$SYN" > packets/live-lo-syn.txt
count_syns
serve packets-lo '0.0.0.0:80' '[::1]:80' '0.0.0.0:8080'
connect 127.0.0.1:80 127.0.0.2=2 127.0.0.3=1
connect '[::1]:80' ::1=1 fd00::2=1
connect 127.0.0.1:8080 127.0.0.2=1
connect --refused 127.0.0.1:81 127.0.0.9=1
stop
captured
counted packets-lo

describe packets/lo.pcap pcap packets-lo 'tcpdump -i lo -w FILE tcp'
describe packets/lo-nano.pcap pcap packets-lo "tcpdump -i lo --time-stamp-precision=nano -w FILE $SYN" only=ipv4
describe packets/lo-snap54.pcap pcap packets-lo 'tcpdump -i lo -s 54 -w FILE tcp' only=ipv4
describe packets/lo-snap60.pcap pcap packets-lo 'tcpdump -i lo -s 60 -w FILE tcp' only=ipv4
describe packets/any.pcap pcap packets-lo 'tcpdump -i any -w FILE tcp'
describe packets/any-sll.pcap pcap packets-lo 'tcpdump -i any -y LINUX_SLL -w FILE tcp'
describe packets/live-lo.txt tcpdump packets-lo 'tcpdump -l -i lo tcp' names
describe packets/live-lo-syn.txt tcpdump packets-lo "tcpdump -l -i lo $SYN" names only=ipv4
for options in -n '-n -v' '-n -q'; do
    told "lo$(printf %s "$options" | tr -d ' ').txt" packets-lo packets/lo.pcap "$options"
done
told snap54-n.txt packets-lo packets/lo-snap54.pcap -n only=ipv4
tcpdump -r packets/lo.pcap -w packets/lo-syn.pcap "$SYN" 2> /dev/null
describe packets/lo-syn.pcap pcap packets-lo "tcpdump -r CAPTURE -w FILE $SYN" only=ipv4
told lo-syn-n.txt packets-lo packets/lo-syn.pcap -n only=ipv4

# More connections, of which there is nothing but the SYNs.
capture -i lo -w packets/syn.pcap "$SYN_OF_BOTH"
capture -i any -w packets/syn-any.pcap "$SYN_OF_BOTH"
capture -l -q -i any "$SYN_OF_BOTH" > packets/syn-live-any-q.txt
count_syns
serve packets-syn '0.0.0.0:80' '[::1]:80' '0.0.0.0:8080'
connect 127.0.0.1:80 127.0.0.2=7 127.0.0.3=4 127.0.0.4=1
connect '[::1]:80' ::1=2 fd00::2=3
connect 127.0.0.1:8080 127.0.0.2=2 127.0.0.5=3
stop
captured
counted packets-syn
describe packets/syn.pcap pcap packets-syn "tcpdump -i lo -w FILE $SYN_OF_BOTH"
describe packets/syn-any.pcap pcap packets-syn "tcpdump -i any -w FILE $SYN_OF_BOTH"
describe packets/syn-live-any-q.txt tcpdump packets-syn "tcpdump -l -q -i any $SYN_OF_BOTH" names
told syn.txt packets-syn packets/syn.pcap '' names
told syn-vv.txt packets-syn packets/syn.pcap -vv names
told syn-any-n-e.txt packets-syn packets/syn-any.pcap '-n -e'
told syn-n-number.txt packets-syn packets/syn.pcap '-n -#'
told syn-n-nano.txt packets-syn packets/syn.pcap '-n --time-stamp-precision=nano'
for options in -n '-n -x' '-n -t' '-n -tt' '-n -ttt' '-n -tttt'; do
    told "syn$(printf %s "$options" | tr -d ' ').txt" packets-syn packets/syn.pcap "$options"
done

. /record/links.sh
