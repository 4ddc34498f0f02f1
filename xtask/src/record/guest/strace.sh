# strace of servers, with the options that change what it writes.

ACCEPT='-e trace=accept,accept4'
V4='0.0.0.0:80 [::1]:80 0.0.0.0:8080'
DUAL='[::]:80 [::]:8080'

# The clients of one session. Those of the second line are v4-mapped for $DUAL.
clients() {
    connect 127.0.0.1:80 127.0.0.2=6 127.0.0.3=4 127.0.0.4=1 &
    one=$!
    connect '[::1]:80' ::1=2 fd00::2=1 &
    two=$!
    connect 127.0.0.1:8080 127.0.0.2=2 127.0.0.5=4 &
    three=$!
    wait $one
    wait $two
    wait $three
}

# traced NAME OPTIONS SERVER: strace of a whole session, to standard error or `-o FILE`.
traced() {
    file=strace/$1.txt
    case "$2" in
    *FILE*) UNDER="strace $(echo "$2" | sed "s,FILE,$file,")" TO=/dev/stderr ;;
    *) UNDER="strace $2" TO=$file ;;
    esac
    serve "strace-$1" $3
    ${CLIENTS:-clients}
    stop
    UNDER= TO=
    describe "$file" strace "strace-$1" "strace $2 server" "server=$3"
}

single="$V4 --way poll --call"
threads="$V4 --way threads --threads 3 --call"

traced single-accept4 "$ACCEPT" "$single accept4"
traced single-accept "$ACCEPT -T" "$single accept"
traced single-null "$ACCEPT" "$single null"
traced single-t "$ACCEPT -t" "$single accept"
traced single-r "$ACCEPT -r" "$single accept4"
traced single-n-i "$ACCEPT -n -i" "$single accept4"
traced nonblocking "$ACCEPT -tt" "$V4 --way nonblocking"
traced dual-stack "$ACCEPT -ttt" "$DUAL --way nonblocking --call accept"
traced threads "-f $ACCEPT" "$threads accept4"
traced threads-o "-f -o FILE $ACCEPT" "$threads accept"
traced threads-null "-f -o FILE $ACCEPT" "$threads null"
traced threads-r "-f -r -o FILE $ACCEPT" "$threads accept4"
traced threads-y "-f -y -o FILE $ACCEPT" "$threads accept4"
traced threads-yy "-f -yy -o FILE $ACCEPT" "$threads accept4"
traced threads-null-yy "-f -yy -o FILE $ACCEPT" "$threads null"
traced threads-Y "-f -Y -o FILE $ACCEPT" "$threads accept4"
traced threads-tt-T-yy "-f -tt -T -yy $ACCEPT" "$threads accept4"
traced dual-stack-yy "-f -yy -o FILE $ACCEPT" "$DUAL --way threads --threads 3"
traced network "-f -tt -o FILE -e trace=network" "$threads accept4"
traced network-yy "-f -yy -e trace=network" "$DUAL --way poll"

few() { connect 127.0.0.1:80 127.0.0.2=3 127.0.0.3=2; }
CLIENTS=few
traced children "-f $ACCEPT" '0.0.0.0:80 --way children'
traced children-process '-f -tt -o FILE -e trace=network,process' '0.0.0.0:80 --way children --call accept'
traced stack "-k $ACCEPT" '0.0.0.0:80 --call accept'
traced everything '-f -o FILE' "0.0.0.0:80 --way threads --threads 2"
CLIENTS=

# A server that ran already: its threads are in the middle of accept.
serve strace-attached $threads accept4
strace -f $ACCEPT -p $server 2> strace/attached.txt 9>&- &
strace=$!
until grep -q attached strace/attached.txt; do sleep 0.1; done
sleep 0.5
clients
stop
wait $strace
describe strace/attached.txt strace strace-attached "strace -f $ACCEPT -p PID" "server=$threads accept4"
