# What attachments with the nbd backend promise, in the guest. /image is a converted image, /dev/vda the same as a raw
# disk, /sums the checksums of its files, /extents where the disk has data.

image=oci:/image:latest
errors() { dmesg | grep -E 'I/O error|Buffer I/O|EXT4-fs error' && fail "the kernel saw errors"; }
pid_of() { cat /run/dadi/devices/*/lock; }
is_state() { dadi ps | grep -q "^$1 *$2 "; }
sums() { (cd $1 && find . -type f | sort | xargs sha256sum) >/tmp/sums 2>/run/log && cmp /tmp/sums /sums; }
drop_caches() { echo 3 >/proc/sys/vm/drop_caches; }

# Reads the device at random, compares with /dev/vda, and tells how far it is.
begin_reading() {
  device_reader $1 /dev/vda /extents /run/reads 3 >/run/reader 2>&1 &
  reader=$!
  until_true 60 more_reads 20 || fail "no reads"
}
reads() { [ -e /run/reads ] && cut -d' ' -f1 /run/reads || echo 0; }
more_reads() {
  local goal=$(($(reads) + $1))
  until_true 120 has_read $goal
}
has_read() { [ $(reads) -ge $1 ]; }
end_reading() {
  kill $reader; wait $reader || fail "$(tail -n 3 /run/reader)"
  say "$(cat /run/reader)"
}

step attach
dmesg -c >/dev/null
device=$(dadi attach --backend nbd --timeout 3 --name a --mount /mnt/a $image 2>/run/log) || fail "attach: $?"
[ "$device" = /dev/nbd0 ] || fail "the device is $device"
is_state a running || fail "$(dadi ps)"
grep -q '^/dev/nbd0 /mnt/a ext4 ro,nosuid,nodev' /proc/mounts || fail "$(grep nbd /proc/mounts)"
[ $(cat /sys/block/nbd0/queue/max_sectors_kb) = 1024 ] || fail "small requests"

step everything-is-read
sums /mnt/a || fail "other bytes"
errors

step attached-twice
second=$(dadi attach --backend nbd --name b $image 2>/run/log) || fail "attach: $?"
[ "$second" = "$device" ] || fail "the second device is $second"
dadi detach b 2>/run/log || fail "detach: $?"
is_state a running || fail "$(dadi ps)"

step busy
exec 9</mnt/a/$(cd /mnt/a && find . -type f | head -n 1)
dadi detach a 2>/run/log; [ $? = 9 ] || fail "detached in use"
exec 9<&-
sums /mnt/a || fail "other bytes"

step killed
begin_reading $device
in_flight() { set -- $(cat /sys/block/nbd0/inflight); [ $1 -ge 3 ]; }
kill -STOP $(pid_of); until_true 60 in_flight || fail "no reads in flight"
kill -9 $(pid_of)
until_true 60 is_state a dead || fail "$(dadi ps)"
before=$(reads)
dadi attach --name a --mount /mnt/a $image >/tmp/device 2>/run/log || fail "take over: $?"
[ "$(cat /tmp/device)" = "$device" ] || fail "another device: $(cat /tmp/device)"
is_state a running || fail "$(dadi ps)"
has_read $((before + 3)) || more_reads 20 || fail "reads do not go on"
more_reads 20 || fail "reads do not go on"
end_reading
errors
drop_caches; sums /mnt/a || fail "other bytes after it"

step stand-by
begin_reading $device
dadid --resume a 2>>/run/log &
old=$(pid_of)
kill -9 $old
followed() { is_state a running && [ $(pid_of) != $old ]; }
until_true 60 followed || fail "$(dadi ps)"
more_reads 20 || fail "reads do not go on"
end_reading
errors

step upgrade
begin_reading $device
pid=$(pid_of)
for i in 1 2 3; do
  dadi upgrade a 2>/run/log || fail "upgrade: $?"
  more_reads 10 || fail "reads do not go on"
done
[ $(pid_of) = $pid ] || fail "another process"
[ $(dmesg | grep -c 'nbd0: Connection timed out') -le 8 ] || fail "requests were lost"

step upgrade-to-what-is-no-dadid
dadi upgrade --dadid /bin/false a 2>/tmp/error && fail "it was taken"
dadi upgrade --dadid /none a 2>/tmp/error && fail "it was taken"
more_reads 10 || fail "reads do not go on"

step upgrade-to-what-fails
sed 's/device\.json/devicX.json/g' /bin/dadid >/bin/dadid-blind
cmp -s /bin/dadid /bin/dadid-blind && fail "nothing to replace in dadid"
cat >/bin/dadid-late <<'END'
#!/bin/sh
[ "$1" = --check-resume ] && exec /bin/dadid "$@"
exec /bin/dadid-blind "$@"
END
chmod +x /bin/dadid-blind /bin/dadid-late
dadi upgrade --dadid /bin/dadid-late a 2>/tmp/error; [ $? = 5 ] || fail "status of a failed upgrade: $(cat /tmp/error)"
is_state a running || fail "$(dadi ps)"
[ $(pid_of) = $pid ] || fail "another process"
more_reads 10 || fail "reads do not go on"
dadi upgrade a 2>/run/log || fail "upgrade after it: $?"
more_reads 10 || fail "reads do not go on"

step upgrade-to-what-dies
printf '#!/bin/sh\n[ "$1" = --check-resume ] && exec /bin/dadid "$@"\nexit 1\n' >/bin/dadid-dying
chmod +x /bin/dadid-dying
dadi upgrade --dadid /bin/dadid-dying a 2>/tmp/error && fail "it was taken"
until_true 60 is_state a dead || fail "$(dadi ps)"
dadi attach --name a $image >/dev/null 2>/run/log || fail "take over: $?"
more_reads 20 || fail "reads do not go on"
end_reading
errors
drop_caches; sums /mnt/a || fail "other bytes after it"

step detach
dadi detach a 2>/run/log || fail "detach: $?"
nothing_left() {
  [ ! -e /sys/block/nbd0/pid ] && [ $(cat /sys/block/nbd0/size) = 0 ] && ! pidof dadid >/dev/null &&
    ! grep -q nbd /proc/mounts && [ -z "$(ls /run/dadi/devices /run/dadi/attachments 2>/dev/null | grep -v :)" ]
}
until_true 30 nothing_left || fail "$(ps; ls -R /run/dadi; cat /sys/block/nbd0/size)"

step detach-of-the-dead
dadi attach --backend nbd --name a --mount /mnt/a $image >/dev/null 2>/run/log || fail "attach: $?"
kill -9 $(pid_of)
until_true 60 is_state a dead || fail "$(dadi ps)"
dadi detach a 2>/run/log || fail "detach: $?"
until_true 30 nothing_left || fail "$(ps; ls -R /run/dadi; cat /sys/block/nbd0/size)"

step detach-lazily
dadi attach --backend nbd --name a --mount /mnt/a $image >/dev/null 2>/run/log || fail "attach: $?"
file=/mnt/a/$(cd /mnt/a && find . -type f -size +1000 | head -n 1)
sum=$(sha256sum <$file)
drop_caches
exec 9<$file
dadi detach --lazy a 2>/run/log || fail "detach: $?"
[ "$(sha256sum <&9)" = "$sum" ] || fail "other bytes"
exec 9<&-
until_true 60 nothing_left || fail "$(ps; ls -R /run/dadi; cat /sys/block/nbd0/size)"
errors
