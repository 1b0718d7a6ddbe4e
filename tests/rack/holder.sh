# The holder keeps a rack's namespaces. $1 is the rack's directory.
set -e
mount --make-rslave /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/rpcbind /run/ganesha
chown _rpc: /run/rpcbind 2>/dev/null || :
mount -t sysfs sysfs /sys
if [ -d /var/lib/nfs ]; then
	cp -a /var/lib/nfs /run/.nfs
	mount --bind /run/.nfs /var/lib/nfs
fi
# net:[4026531840] as a pattern, in which brackets have a meaning of their own.
net="net:?$(readlink /proc/$$/ns/net | tr -dc 0-9)?"
trap '' HUP INT TERM
echo ready
# cat ends when the last writer of the pipe is gone: the rack was closed, or its maker died.
cat >/dev/null || :
set +e
dir=$1
# Those that fork while they are killed are found in the next pass. One that hangs in the kernel is left to it.
for pass in $(seq 100); do
	# Expanded here, and not in the pipe, the list has no process of the pipe in it.
	set -- /proc/[0-9]*/ns/net
	pids=$(find "$@" -maxdepth 0 -lname "$net" 2>/dev/null | cut -d/ -f3 | grep -vx $$) || break
	for pid in $pids; do kill -9 "$pid" 2>/dev/null; done
	sleep 0.1
done
rm -rf "$dir"
