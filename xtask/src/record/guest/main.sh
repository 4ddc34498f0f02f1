# What the guest that records runs: all sessions, and then the way back of the files.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin TZ=UTC LC_ALL=C.UTF-8

hostname server
rm -f /etc/resolv.conf
echo 'hosts: files' > /etc/nsswitch.conf
cat > /etc/hosts <<END
127.0.0.1 localhost
127.0.0.2 alice.example
127.0.0.3 bob.example
127.0.0.4 mail-4.example.net
::1 ip6-localhost
fd00::2 alice6.example
10.0.0.1 server
10.0.0.2 printer.lan
END
for address in fd00::2 fd00::3; do ip addr add $address/128 dev lo nodad; done
# A copy, because strace tells where a program really lies.
cp /init /usr/bin/conn-server
ln -s conn-server /usr/bin/conn-client

# What there is goes back even if a session fails.
hand_over() {
    stty -F /dev/ttyS1 raw
    cp /etc/hosts /truth
    tar -C / -czf - out truth | cat > /dev/ttyS1
}
trap hand_over EXIT

mkdir -p /out/strace /out/packets /out/kernel-log /truth
cd /out

. /record/session.sh
for part in ${PARTS:-strace packets kernel-log conntrack tracers}; do
    echo "guest: records $part"
    . /record/$part.sh
done
