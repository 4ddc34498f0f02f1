# Events of conntrack.

. /record/tools.sh
mkdir -p conntrack

modprobe nf_conntrack_netlink
nft -f - <<'END'
table inet track {
    chain input {
        type filter hook input priority 0;
        ct state new counter
    }
}
END
sysctl -qw net.netfilter.nf_conntrack_acct=1 net.netfilter.nf_conntrack_timestamp=1
HEADING=
watch conntrack/events.txt conntrack -E
watch conntrack/timestamp.txt conntrack -E -o timestamp
watch conntrack/all.txt conntrack -E -o timestamp,extended,id,labels,ktimestamp
watch conntrack/ktimestamp.txt conntrack -E -o ktimestamp
watch conntrack/new.txt conntrack -E -e NEW -p tcp
watch conntrack/updates.txt conntrack -E -e UPDATES
sleep 3
count_syns
serve conntrack $SERVE_TOOLS
tool_clients
# New connections of the same ends.
connect --port 40000 127.0.0.1:80 127.0.0.6=3
connect --port 40000 '[::1]:80' fd00::3=2
bash -c 'echo a > /dev/udp/127.0.0.1/53; echo b > /dev/udp/::1/80'
stop
conntrack -F
watched
counted conntrack
nft delete table inet track
describe conntrack/events.txt conntrack conntrack 'conntrack -E'
describe conntrack/timestamp.txt conntrack conntrack 'conntrack -E -o timestamp'
describe conntrack/all.txt conntrack conntrack 'conntrack -E -o timestamp,extended,id,labels,ktimestamp'
describe conntrack/ktimestamp.txt conntrack conntrack 'conntrack -E -o ktimestamp'
describe conntrack/new.txt conntrack conntrack 'conntrack -E -e NEW -p tcp'
describe conntrack/updates.txt conntrack conntrack 'conntrack -E -e UPDATES'
