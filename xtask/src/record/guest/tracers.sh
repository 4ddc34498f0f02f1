# Tables of tcpaccept and tcptracer, of bcc and of bpftrace. They take minutes here to compile their programs.

. /record/tools.sh
mkdir -p tcpaccept

HEADING=COMM
watch tcpaccept/bpftrace.txt bpftrace /usr/sbin/tcpaccept.bt
watch tcpaccept/tcpaccept.txt tcpaccept-bpfcc
watch tcpaccept/tcptracer.txt tcptracer-bpfcc
serve tracers $SERVE_TOOLS
tool_clients
stop
watched
describe tcpaccept/bpftrace.txt tcpaccept tracers 'bpftrace tcpaccept.bt'
describe tcpaccept/tcpaccept.txt tcpaccept tracers 'tcpaccept-bpfcc'
describe tcpaccept/tcptracer.txt tcpaccept tracers 'tcptracer-bpfcc'
