# Packets that are not plain: lost and sent again, with options, on other links.

# SYNs that are lost are sent again after 1 and 3 seconds; the first ask for ECN.
# One client is never let through.
sysctl -qw net.ipv4.tcp_ecn=1
capture -i lo -w packets/lost.pcap tcp
capture -l -n -i lo "$SYN" > packets/lost-live-n.txt
count_syns
serve packets-lost '0.0.0.0:80' '[::1]:80'
for client in 127.0.0.3 127.0.0.9; do iptables -A INPUT -p tcp --syn -s $client -j DROP; done
ip6tables -A INPUT -p tcp --syn -s fd00::2 -j DROP
clients=
for each in 1 2 3; do
    connect 127.0.0.1:80 127.0.0.3=1 &
    clients="$clients $!"
done
connect '[::1]:80' fd00::2=1 &
clients="$clients $!"
timeout 2.5 conn-client record-connect 127.0.0.1:80 127.0.0.9=1 9>&- &
connect 127.0.0.1:80 127.0.0.2=2 127.0.0.4=1
sleep 2
iptables -D INPUT -p tcp --syn -s 127.0.0.3 -j DROP
ip6tables -F
for each in $clients; do wait "$each"; done
stop
captured
counted packets-lost
iptables -F
sysctl -qw net.ipv4.tcp_ecn=2
describe packets/lost.pcap pcap packets-lost 'tcpdump -i lo -w FILE tcp'
describe packets/lost-live-n.txt tcpdump packets-lost "tcpdump -l -n -i lo $SYN" only=ipv4
told lost-n.txt packets-lost packets/lost.pcap -n

# Clients that always connect from the same port: connections that a port does not tell apart.
capture -i lo -w packets/same-port.pcap tcp
count_syns
serve packets-same-port '0.0.0.0:80' '[::1]:80'
connect --port 40000 127.0.0.1:80 127.0.0.6=3 127.0.0.7=1
connect --port 40000 '[::1]:80' fd00::3=2
stop
captured
counted packets-same-port
describe packets/same-port.pcap pcap packets-same-port 'tcpdump -i lo -w FILE tcp'
told same-port-n.txt packets-same-port packets/same-port.pcap -n
told same-port-n-q.txt packets-same-port packets/same-port.pcap '-n -q'

# Options in the IP header; IPv6 has a header of its own for them, which the filter `tcp` misses.
capture -i lo -w packets/ip-options.pcap
count_syns
serve packets-ip-options '0.0.0.0:80' '[::1]:80'
connect --ip-options 127.0.0.1:80 127.0.0.2=1
connect --ip-options '[::1]:80' fd00::2=2
connect '[::1]:80' ::1=1
stop
captured
counted packets-ip-options
describe packets/ip-options.pcap pcap packets-ip-options 'tcpdump -i lo -w FILE'
told ip-options-n.txt packets-ip-options packets/ip-options.pcap -n
told ip-options-n-v.txt packets-ip-options packets/ip-options.pcap '-n -v'

# Clients of another host, as far as a network namespace is one.
there() { ip netns exec clients "$@"; }
connect_there() { there conn-client record-connect "$@" 9>&-; }
ip netns add clients
there ip link set lo up
ip link add eth0 address 02:00:00:00:00:01 type veth peer name eth0 address 02:00:00:00:00:02 netns clients
# joined LINK NETWORK: gives both ends of a link their addresses.
joined() {
    ip addr add "10.0.$2.1/24" dev "$1"
    ip addr add "fd10:$2::1/64" dev "$1" nodad
    ip link set "$1" up
    for host in 2 3 4; do
        there ip addr add "10.0.$2.$host/24" dev "$1"
        there ip addr add "fd10:$2::$host/64" dev "$1" nodad
    done
    there ip link set "$1" up
}
joined eth0 0
# recorded NAME NETWORK COPIES LINK [NOTE]: a session over a link, captured on it and on
# all interfaces, where each packet can be read so often.
recorded() {
    capture -i "$4" -w "packets/$1-$4.pcap"
    capture -i any -w "packets/$1-any.pcap"
    capture -l -n -i any > "packets/$1-live-any-n.txt"
    count_syns
    serve "packets-$1" '0.0.0.0:80' '[::]:8080'
    connect_there "10.0.$2.1:80" "10.0.$2.2=1"
    connect_there "10.0.$2.1:8080" "10.0.$2.3=1"
    connect_there "[fd10:$2::1]:8080" "fd10:$2::2=1"
    stop
    captured
    counted "packets-$1"
    describe "packets/$1-$4.pcap" pcap "packets-$1" "tcpdump -i $4 -w FILE"
    told "$1-$4-n-e.txt" "packets-$1" "packets/$1-$4.pcap" '-n -e'
    describe "packets/$1-any.pcap" pcap "packets-$1" 'tcpdump -i any -w FILE' "copies=$3" "note=${5:-}"
    describe "packets/$1-live-any-n.txt" tcpdump "packets-$1" 'tcpdump -l -n -i any' "copies=$3" "note=${5:-}"
}
recorded veth 0 1 eth0
# From here on without what IPv6 does by itself on a new interface; the above has it.
for side in '' there; do $side sysctl -qw net.ipv6.conf.default.addr_gen_mode=1; done

for side in '' there; do $side ip link add link eth0 name eth0.5 type vlan id 5; done
joined eth0.5 5
recorded vlan 5 2 eth0

for side in '' there; do
    $side ip link add link eth0 name eth0.100 type vlan proto 802.1ad id 100
    $side ip link set eth0.100 up
    $side ip link add link eth0.100 name eth0.100.7 type vlan id 7
done
joined eth0.100.7 7
recorded qinq 7 2 eth0 'on eth0 one tag of two is taken off, and the rest is not IP'

# A tunnel of both families, whose interface has no link layer at all.
ip link add tun9 type sit mode any local 10.0.0.1 remote 10.0.0.2
there ip link add tun9 type sit mode any local 10.0.0.2 remote 10.0.0.1
joined tun9 9
recorded tunnel 9 1 tun9 'on eth0 it is in a tunnel, where it does not count'
