# Names out of files lead nowhere: under strace no file outside the data is opened, and none is made.
command -v strace >/dev/null 2>&1 || skip "no strace"
strace -o .probe true 2>/dev/null || skip "strace may not trace here"
pictures d/pics 4
mkdir secret d/shard d/images
cp d/pics/p0.png secret/canary.png
ln -s ../../secret/canary.png d/pics/link.png
ln -s ../../secret d/pics/way
cat >d/list.csv <<EOF
filepath,caption
p0.png,fine
../../secret/canary.png,up
$T/secret/canary.png,absolute
link.png,link
way/canary.png,folder
EOF
cat >d/coco.json <<EOF
{"images": [{"file_name": "p0.png", "id": 1}, {"file_name": "../../secret/canary.png", "id": 2}, {"file_name": "$T/secret/canary.png", "id": 3},
 {"filepath": "../../secret", "filename": "canary.png", "id": 4}, {"file_name": "link.png", "id": 5}, {"file_name": "way/canary.png", "id": 6}],
 "annotations": [{"image_id": 1, "caption": "fine"}, {"image_id": 2, "caption": "up"}]}
EOF
printf 'img_id,img_filename,y,split,place,place_filename\n1,p0.png,0,0,0,x\n2,../../secret/canary.png,0,0,0,x\n' >d/pics/metadata.csv
(cd d/shard && cp ../pics/p0.png a.png && printf fine >a.txt && ln -s ../../secret/canary.png b.png && printf no >b.txt &&
    tar -cPf ../s.tar a.png a.txt b.png b.txt ../../secret/canary.png "$T/secret/canary.png")
find . ! -name '.*' | sort >.before
look() { # SPEC [OPTIONS]
    ASAN_OPTIONS=detect_leaks=0 strace -f -qq -e trace=open,openat,creat,mkdir,symlink,link,rename,unlink,connect,socket -o .trace \
        "$program" encode --model model --data "$@" --out "set$n" >.out 2>.err || { cat .err >&2; fail "encode --data $1"; }
    ! grep -n 'canary\|secret' .trace >&2 || fail "$1: something outside was opened"
    ! grep -n 'connect(\|socket(' .trace >&2 || fail "$1: a connection"
    grep -q '"n_images": 1,' "set$n/set.json" || fail "$1: not one picture"
    n=$((n + 1))
}
must init "$here/tiny.json" --data csv:d/pics/data.csv --vocab-size 520 --out model
n=0
look csv:d/list.csv --images-root d/pics
look coco:d/coco.json --images-root d/pics
look waterbirds:d/pics
look wds:d/s.tar
rm -rf set? model
find . ! -name '.*' | sort >.after
cmp -s .before .after || { diff .before .after >&2; fail "files were made"; }
