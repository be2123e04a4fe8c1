# quick: a full disk. A limit on the size of files stands in for it everywhere; a small file system of its own where one can be
# mounted. Exit 6, the bytes named, no stump; after freeing space the same command finishes with the same bytes.
pictures pics 24
tiny model
options="--model model --data csv:pics/data.csv --shard-rows 8 --batch 8 --threads 1"
sums() { (cd "$1" && sha256sum *); }
must encode $options --out set
sums set >.want
# Packed shards need a temporary file. Without room for one no picture is to blame: the work ends, and goes on later.
if tar --version >/dev/null 2>&1 && gzip --version >/dev/null 2>&1; then
    mkdir shard
    awk -F, 'NR > 1 { gsub(/\r/, ""); print $1 }' pics/data.csv | sort -u | while read -r name; do
        cp "pics/$name" shard/ && echo "a picture" >"shard/${name%.*}.txt"
    done
    tar -C shard -czf shard.tar.gz $(ls shard | sort)
    tarred="--model model --data wds:shard.tar.gz --batch 8 --threads 1"
    must encode $tarred --out packed
    sums packed >.want_packed
    [ ! -e packed/failed.tsv ] || fail "pictures of the shard are lost: $(cat packed/failed.tsv)"
    TMPDIR=/nonexistent "$program" encode $tarred --out late -q >.out 2>.err
    code=$?
    [ $code = 1 ] && grep -q 'cannot make a temporary file' .err || fail "no temporary: exit $code: $(cat .err)"
    absent late
    must encode $tarred --out late
    sums late | cmp -s - .want_packed || fail "the shard, later: another set"
fi
(ulimit -f 1 2>/dev/null) || skip "no ulimit -f"
n=0 full=0
for blocks in 1 2 3 4 5 6 8 10; do # of 512 bytes
    (ulimit -f $blocks; exec "$program" encode $options --out limited -q) >.out 2>.err
    code=$?
    n=$((n + 1))
    [ $code = 0 ] || [ $code = 6 ] || fail "ulimit -f $blocks: exit $code: $(cat .err)"
    [ $code = 0 ] || { full=$((full + 1)); grep -q 'cannot write [0-9]* bytes' .err || fail "no bytes named: $(cat .err)"; }
    [ $code = 0 ] || absent limited
    [ -z "$(find . -name '.*.tmp-*' -o -name '*.tmp')" ] || fail "a temporary stays: $(find . -name '*.tmp*')"
    must encode $options --out limited --force
    sums limited | cmp -s - .want || fail "ulimit -f $blocks: another set"
    rm -rf limited
done
say "$n limits, $full exits with 6, $n finished bit-equal"
mounted=
# in a name space of our own: nothing stays mounted, whatever happens
if command -v unshare >/dev/null && mkdir tiny-disk && unshare -m true 2>/dev/null; then
    cat >.on_disk <<'IN'
mount -t tmpfs -o size=$1k tmpfs tiny-disk 2>/dev/null || exit 99
shift
"$@" --out tiny-disk/set >.out 2>.err
code=$?
find tiny-disk -name '.*.tmp-*' >.stumps
[ $code = 0 ] || [ ! -e tiny-disk/set ] || echo set >>.stumps
if [ $code != 0 ]; then # free space: the same command
    mount -o remount,size=8192k tiny-disk
    cp .err .err_full
    "$@" --out tiny-disk/set >.out 2>.err || exit 98
fi
(cd tiny-disk/set && sha256sum *) >.got
[ ! -e tiny-disk/set.partial ] || echo partial >>.stumps
exit $code
IN
    n=0 full=0
    for size in 4 16 24 32 40 48 56 64 72 80 96 112 128 192; do
        unshare -m sh .on_disk $size "$program" encode $options
        code=$?
        [ $code != 99 ] || break
        mounted=yes
        n=$((n + 1))
        [ $code = 0 ] || [ $code = 6 ] || fail "disk of $size KiB: exit $code: $(cat .err .err_full 2>/dev/null)"
        [ $code = 0 ] || full=$((full + 1))
        [ $code = 0 ] || grep -q -E 'cannot write [0-9]* bytes|[0-9.]* MB will be written|No space left' .err_full || fail "$(cat .err_full)"
        [ ! -s .stumps ] || fail "disk of $size KiB leaves $(cat .stumps)"
        cmp -s .got .want || fail "disk of $size KiB: another set"
    done
fi
if [ -n "$mounted" ]; then
    printf '%d small disks, %d exits with 6, %d finished bit-equal\n' $n $full $n
    [ $full -ge 3 ] || fail "the disks were all large enough"
else
    printf 'small disks: skipped, nothing can be mounted here\n'
fi
