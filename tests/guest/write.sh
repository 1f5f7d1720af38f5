# What attachments with the nbd backend promise that are written to: in the guest, after attach.sh.

sum() { sha256sum <$1; }
is_writable() { grep -q "^$device /mnt/w ext4 rw,nosuid,nodev" /proc/mounts; }
# Of ext4 without a journal, sync writes some after it has flushed.
flush() { sync; dd if=/dev/null of=$device conv=fsync,notrunc 2>/run/log; }
is_new() { [ "$(sum /mnt/w/new)" = "$new" ] && [ ! -e /mnt/w/data/small1 ]; }

step write
dmesg -c >/dev/null
device=$(dadi attach --backend nbd --timeout 3 --name w --writable=/tmp/changes --mount /mnt/w $image 2>/run/log) ||
  fail "attach: $?"
is_writable || fail "$(grep nbd /proc/mounts)"
[ "$(cat /sys/block/nbd0/queue/write_cache)" = "write back" ] || fail "it does not flush"
[ $(cat /sys/block/nbd0/queue/discard_max_bytes) != 0 ] || fail "it does not trim"
head -c 3000000 /dev/urandom >/mnt/w/new
rm /mnt/w/data/small1
flush
new=$(sum /mnt/w/new)
drop_caches; is_new || fail "other bytes"
errors

step write-killed
kill -9 $(pid_of)
until_true 60 is_state w dead || fail "$(dadi ps)"
dadi attach --name w --mount /mnt/w $image 2>/tmp/error; [ $? = 9 ] || fail "taken over without its layer"
dadi attach --name w --writable=/tmp/changes --mount /mnt/w $image >/dev/null 2>/run/log || fail "take over: $?"
drop_caches; is_new || fail "other bytes after it"
echo more >/mnt/w/more; flush
errors

step write-upgrade
count() { local i=0; while [ ! -e /tmp/enough ]; do i=$((i + 1)); echo $i >/mnt/w/count; sync; echo $i >/tmp/count; done; }
counted() { [ $(cat /tmp/count 2>/dev/null || echo 0) -ge $1 ]; }
count & counter=$!
until_true 60 counted 3 || fail "no writes"
for i in 1 2; do
  dadi upgrade w 2>/run/log || fail "upgrade: $?"
  until_true 60 counted $(($(cat /tmp/count) + 3)) || fail "writes do not go on"
done
touch /tmp/enough; wait $counter
drop_caches
[ "$(cat /mnt/w/count)" = "$(cat /tmp/count)" ] || fail "other bytes after it"
is_new || fail "other bytes after it"
errors

step write-unflushed
dd if=/dev/urandom of=/mnt/w/late bs=64k count=16 oflag=direct 2>/run/log || fail "dd: $?"
kill -9 $(pid_of)
until_true 60 is_state w dead || fail "$(dadi ps)"
dadi attach --name w --writable=/tmp/changes --mount /mnt/w $image >/dev/null 2>/tmp/error
[ $? = 8 ] || fail "what it believes to have written is not there, but it was taken over: $(cat /tmp/error)"
grep -q 'not flushed' /tmp/error || fail "$(cat /tmp/error)"
before=$(cut -d. -f1 /proc/uptime)
dadi detach w 2>/run/log || fail "detach: $?"
[ $(($(cut -d. -f1 /proc/uptime) - before)) -lt 60 ] || fail "the detach waited for a successor"
until_true 30 nothing_left || fail "$(ps; ls -R /run/dadi; cat /sys/block/nbd0/size)"
dadi attach --backend nbd --name w --writable=/tmp/changes --mount /mnt/w $image >/dev/null 2>/tmp/error ||
  fail "attach: $(cat /tmp/error)"
grep -q 'not unmounted cleanly: e2fsck' /tmp/error || fail "$(cat /tmp/error)"
is_new || fail "other bytes after it"
[ "$(cat /mnt/w/more)" = more ] || fail "other bytes after it"

step write-detach
dmesg -c >/dev/null
head -c 2000000 /dev/urandom >/mnt/w/last
last=$(sum /mnt/w/last)
dadi detach w 2>/run/log || fail "detach: $?"
until_true 30 nothing_left || fail "$(ps; ls -R /run/dadi; cat /sys/block/nbd0/size)"
dadi attach --backend nbd --name w --writable=/tmp/changes $image >/dev/null 2>/run/log || fail "attach: $?"
e2fsck -fn $device >/run/log 2>&1 || fail "the file system is faulty"
dadi detach w 2>/run/log || fail "detach: $?"
dadi attach --backend nbd --name w --writable=/tmp/changes --mount /mnt/w $image >/dev/null 2>/run/log || fail "attach: $?"
[ "$(sum /mnt/w/last)" = "$last" ] || fail "other bytes after it"
dadi detach w 2>/run/log || fail "detach: $?"
until_true 30 nothing_left || fail "$(ps; ls -R /run/dadi; cat /sys/block/nbd0/size)"
errors

step write-live
has_after() { is_new && [ "$(cat /mnt/w/after)" = after ]; }
dadi attach --backend nbd --timeout 3 --name w --writable=/tmp/changes --mount /mnt/w $image >/dev/null 2>/run/log ||
  fail "attach: $?"
dadi commit w oci:/tmp/live --live >/dev/null 2>/run/log || fail "commit: $?"
ls /tmp/changes/layer-*/writable_data >/run/log 2>&1 && [ ! -e /tmp/changes/writable_data ] || fail "$(ls -R /tmp/changes)"
echo after >/mnt/w/after; flush
kill -9 $(pid_of)
until_true 60 is_state w dead || fail "$(dadi ps)"
dadi attach --name w --writable=/tmp/changes --mount /mnt/w $image >/dev/null 2>/run/log || fail "take over: $?"
drop_caches; has_after || fail "other bytes on the new image"
dadi commit w oci:/tmp/live --live >/dev/null 2>/run/log || fail "commit once more: $?"
echo later >/mnt/w/later; flush
dadi upgrade w 2>/run/log || fail "upgrade: $?"
drop_caches; has_after || fail "other bytes after an upgrade"
dadi detach w 2>/run/log || fail "detach: $?"
dadi attach --backend nbd --name w --writable=/tmp/changes oci:/tmp/live >/dev/null 2>/run/log || fail "attach: $?"
e2fsck -fn $device >/run/log 2>&1 || fail "the file system is faulty"
dadi detach w 2>/run/log || fail "detach: $?"
until_true 30 nothing_left || fail "$(ps; ls -R /run/dadi; cat /sys/block/nbd0/size)"
errors

# Who writes and who stores it for him share a control group that has not room for half of it.
step write-without-memory
mkdir -p /data /sys/fs/cgroup
mount -t ext4 /dev/vdc /data && mount -t cgroup2 none /sys/fs/cgroup || fail "mount"
group=/sys/fs/cgroup/tight
echo +memory >/sys/fs/cgroup/cgroup.subtree_control && mkdir $group || fail "no control group for memory"
dadi attach --backend nbd --name w --writable=/data/changes --mount /mnt/w $image >/dev/null 2>/run/log || fail "attach: $?"
grep -q 'memory is short' /run/dadi/devices/*/log && fail "$(cat /run/dadi/devices/*/log)"
[ "$(cat /proc/$(pid_of)/oom_score_adj)" = -900 ] || fail "it is killed as any other"
echo $(pid_of) >$group/cgroup.procs && echo 40M >$group/memory.max || fail "no limit"
(echo 0 >$group/cgroup.procs; exec dd if=/dev/urandom of=/mnt/w/much bs=1M count=100 conv=fsync 2>/run/dd) & writer=$!
is_done() { ! kill -0 $writer 2>/dev/null; }
until_true 200 is_done || fail "it does not end: $(cat $group/memory.current)"
wait $writer || fail "dd: $(cat /run/dd)"
is_state w running || fail "$(dadi ps)"
[ $(sed -n 's/^max //p' $group/memory.events) -gt 0 ] || fail "there was room: $(cat $group/memory.events)"
much=$(sum /mnt/w/much)
dadi detach w 2>/run/log || fail "detach: $?"
dadi attach --backend nbd --name w --writable=/data/changes --mount /mnt/w $image >/dev/null 2>/run/log || fail "attach: $?"
[ "$(sum /mnt/w/much)" = "$much" ] || fail "other bytes after it"
dadi detach w 2>/run/log || fail "detach: $?"
errors
