# The kernel's log, where rules of iptables and nftables write what they see.

# logged SESSION: starts a session with an empty log and no rules.
logged() {
    iptables -F
    ip6tables -F
    count_syns
    dmesg -C
    log_session=$1
}

# dmesg_to FILE OPTIONS [KEY=VALUE...]: what dmesg tells of the session.
dmesg_to() {
    dmesg $2 > "kernel-log/$1"
    log_file=kernel-log/$1 log_options=$2
    shift 2
    describe "$log_file" kernel-log "$log_session" "dmesg $log_options" "rules=$(rules)" "$@"
}

# The rules that log, as one line.
rules() {
    {
        iptables -S
        ip6tables -S
        # Those of iptables are here too, in other words: this table is the one that is not.
        nft -n list table inet logging 2>/dev/null
    } | grep -E 'LOG|log( |$)' | sort -u | tr -s '\t\n' '  ' | sed 's/ $//'
}

# The clients of most sessions, among them two that are refused.
log_clients() {
    connect 127.0.0.1:80 127.0.0.2=4 127.0.0.3=2
    connect '[::1]:80' ::1=2 fd00::2=1
    connect 127.0.0.1:8080 127.0.0.2=1 127.0.0.5=2
    connect --refused 127.0.0.1:81 127.0.0.9=2
    bash -c 'echo a > /dev/udp/127.0.0.1/53; echo b > /dev/udp/::1/80'
}
SERVE_LOG='0.0.0.0:80 [::1]:80 0.0.0.0:8080'
# Nothing may be lost, neither in the kernel nor on the way to a file.
sysctl -qw kernel.printk_ratelimit=0
modprobe -a xt_LOG nft_log nf_log_syslog

# What turns the kernel's log into files: each writes its own forms of it.
timeout 1 cat /proc/kmsg > /dev/null || true
cat > /run/rsyslog.conf <<'END'
module(load="imklog")
kern.* action(type="omfile" file="/out/kernel-log/rsyslog-traditional.log" template="RSYSLOG_TraditionalFileFormat")
kern.* action(type="omfile" file="/out/kernel-log/rsyslog-rfc5424.log" template="RSYSLOG_SyslogProtocol23Format")
kern.* action(type="omfile" file="/out/kernel-log/rsyslog-iso.log" template="RSYSLOG_FileFormat")
END
rsyslogd -n -f /run/rsyslog.conf -i /run/rsyslogd.pid 9>&- &
rsyslogd=$!
cat /proc/sys/kernel/random/uuid | tr -d - > /etc/machine-id
mkdir -p /run/systemd/journal /run/log/journal /etc/systemd/journald.conf.d
printf '[Journal]\nRateLimitIntervalSec=0\n' > /etc/systemd/journald.conf.d/all.conf
/lib/systemd/systemd-journald 9>&- &
journald=$!
sleep 3

logged kernel-log-syn
since=$(date +%s)
iptables -A INPUT -p tcp --syn --dport 80 -j LOG --log-prefix 'NEW: '
iptables -A INPUT -p tcp --syn --dport 8080 -j LOG --log-prefix '[UFW BLOCK] '
iptables -A INPUT -p tcp --syn --dport 81 -j LOG
iptables -A INPUT -p udp -j LOG --log-prefix 'iptables denied: '
ip6tables -A INPUT -p tcp --syn -j LOG --log-prefix 'filter_IN_public_REJECT: '
ip6tables -A INPUT -p udp -j LOG --log-prefix 'IN=none SRC=of nothing: '
serve kernel-log-syn $SERVE_LOG
log_clients
stop
sleep 2
counted kernel-log-syn
dmesg_to dmesg.txt ''
dmesg_to dmesg-T.txt -T
dmesg_to dmesg-x.txt -x
dmesg_to dmesg-iso.txt '--time-format iso'
dmesg_to dmesg-r.txt -r
dmesg_to dmesg-d.txt -d
dmesg_to dmesg-reltime.txt '--time-format reltime'
kill "$rsyslogd"
wait "$rsyslogd" || true
for form in traditional:RSYSLOG_TraditionalFileFormat rfc5424:RSYSLOG_SyslogProtocol23Format iso:RSYSLOG_FileFormat; do
    describe "kernel-log/rsyslog-${form%%:*}.log" kernel-log kernel-log-syn "rsyslogd, template ${form#*:}" "rules=$(rules)"
done
journalctl --sync || true
for form in short short-iso short-iso-precise short-precise short-monotonic short-unix cat json; do
    journalctl -q -k --no-pager --since "@$since" -o $form > "kernel-log/journalctl-$form.txt"
    describe "kernel-log/journalctl-$form.txt" kernel-log kernel-log-syn "journalctl -k -o $form" "rules=$(rules)"
done
kill "$journald"

# Everything of a connection: its SYN is one line among many, of both directions.
logged kernel-log-all
iptables -A INPUT -p tcp -j LOG --log-prefix 'TCP '
ip6tables -A INPUT -p tcp -j LOG --log-prefix 'TCP '
serve kernel-log-all $SERVE_LOG
connect 127.0.0.1:80 127.0.0.2=2 127.0.0.3=1
connect '[::1]:80' fd00::2=1
connect 127.0.0.1:8080 127.0.0.2=1
connect --refused 127.0.0.1:81 127.0.0.9=1
stop
counted kernel-log-all
dmesg_to all-packets.txt ''

# All that a line can hold. A rule in OUTPUT knows whose the packet is; each SYN passes both.
logged kernel-log-options
for chain in INPUT OUTPUT; do
    for each in iptables ip6tables; do
        $each -A $chain -p tcp --syn -j LOG --log-prefix "$chain " --log-level info \
            --log-tcp-options --log-tcp-sequence --log-ip-options --log-uid --log-macdecode
    done
done
serve kernel-log-options $SERVE_LOG
connect 127.0.0.1:80 127.0.0.2=2
connect '[::1]:80' fd00::2=1
connect --ip-options 127.0.0.1:80 127.0.0.3=2
connect --ip-options '[::1]:80' fd00::3=1
stop
counted kernel-log-options
dmesg_to options.txt '' copies=2

# nftables, with and without what `flags all` adds.
logged kernel-log-nft
nft -f - <<'END'
table inet logging {
    chain input {
        type filter hook input priority 0;
        tcp dport 80 tcp flags & (syn | ack) == syn log prefix "nft new: "
        tcp dport 8080 ct state new log prefix "nft all: " flags all
        tcp dport 81 tcp flags & (syn | ack) == syn log
        udp dport 53 log prefix "nft udp " level info
    }
}
END
serve kernel-log-nft $SERVE_LOG
log_clients
stop
counted kernel-log-nft
dmesg_to nft.txt ''
nft delete table inet logging

# ulogd, to which rules send packets in place of the kernel's log.
logged kernel-log-ulogd
nft -f - <<'END'
table inet logging {
    chain input {
        type filter hook input priority 0;
        tcp dport 80 tcp flags & (syn | ack) == syn log prefix "nft new: " group 1
        tcp dport { 81, 8080 } ct state new log group 1
        udp dport 53 log prefix "nft udp" group 1
    }
}
END
mkdir -p ulogd
{
    echo '[global]'
    for plugin in /usr/lib/*/ulogd/ulogd_*.so; do echo "plugin=\"$plugin\""; done
    cat <<'END'
stack=log1:NFLOG,base1:BASE,ifi1:IFINDEX,ip2str1:IP2STR,print1:PRINTPKT,emu1:LOGEMU
stack=log1:NFLOG,base1:BASE,ifi1:IFINDEX,ip2str1:IP2STR,mac1:HWHDR,json1:JSON
[log1]
group=1
[emu1]
file="/out/ulogd/logemu.log"
sync=1
[json1]
file="/out/ulogd/json.log"
sync=1
END
} > /run/ulogd.conf
ulogd -c /run/ulogd.conf 9>&- &
ulogd=$!
sleep 1
serve kernel-log-ulogd $SERVE_LOG
log_clients
stop
counted kernel-log-ulogd
sleep 1
kill $ulogd
wait $ulogd || true
describe ulogd/logemu.log ulogd kernel-log-ulogd 'ulogd, LOGEMU' "rules=$(rules)"
describe ulogd/json.log ulogd kernel-log-ulogd 'ulogd, JSON' "rules=$(rules)"
nft delete table inet logging

# SYNs that are lost are sent again; the first ask for ECN.
logged kernel-log-lost
sysctl -qw net.ipv4.tcp_ecn=1
iptables -A INPUT -p tcp --syn -j LOG --log-prefix 'NEW: '
serve kernel-log-lost $SERVE_LOG
iptables -A INPUT -p tcp --syn -s 127.0.0.3 -j DROP
iptables -A INPUT -p tcp --syn -s 127.0.0.9 -j DROP
clients=
for each in 1 2; do
    connect 127.0.0.1:80 127.0.0.3=1 &
    clients="$clients $!"
done
timeout 2.5 conn-client record-connect 127.0.0.1:80 127.0.0.9=1 9>&- &
connect 127.0.0.1:80 127.0.0.2=2
sleep 2
iptables -D INPUT -p tcp --syn -s 127.0.0.3 -j DROP
for each in $clients; do wait "$each"; done
stop
counted kernel-log-lost
dmesg_to lost.txt ''
sysctl -qw net.ipv4.tcp_ecn=2

# Another host: its packets have a link layer. What goes through a VLAN is logged once.
logged kernel-log-veth
iptables -A INPUT -p tcp --syn -j LOG --log-prefix 'NEW: '
ip6tables -A INPUT -p tcp --syn -j LOG --log-prefix 'NEW: ' --log-macdecode
serve kernel-log-veth '0.0.0.0:80' '[::]:8080'
connect_there 10.0.0.1:80 10.0.0.2=2
connect_there 10.0.5.1:80 10.0.5.3=2
connect_there '[fd10:0::1]:8080' fd10:0::2=1
connect_there 10.0.0.1:8080 10.0.0.4=1
stop
counted kernel-log-veth
dmesg_to veth.txt ''
