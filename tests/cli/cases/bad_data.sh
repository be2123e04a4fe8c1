# Broken inputs: a clear message, the documented exit code, no half-written output.
pictures pics 12
tiny model
mkdir -p empty/a
m data folder:empty
m encode --model model --data folder:empty --out set
absent set
m data nosuch:x
m data csv:nosuch.csv
printf 'file,caption\n' >bad.csv
m data csv:bad.csv
# a picture cut short costs its row
cp -r pics broken
head -c 60 pics/p2.png >broken/p2.png
echo hello >broken/p3.png
m encode --model model --data csv:broken/data.csv --out set --json
cat set/failed.tsv >>"$transcript"
head -n 3 set/images.csv >>"$transcript"
m eval retrieval set --bootstrap 0
for i in 0 1 2 3 4 5 6 7 8 9 10 11; do echo hello >broken/p$i.png; done
m encode --model model --data csv:broken/data.csv --out none
absent none
m encode --model model --image broken/p2.png
# weights
cp -r model cut
head -c 1000 model/model.safetensors >cut/model.safetensors
m encode --model cut --text a
cp -r model nan
size=$(wc -c <nan/model.safetensors)
printf '\000\000\300\177' | dd of=nan/model.safetensors bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
m encode --model nan --text a
rm cut/model.safetensors
m encode --model cut --text a
# configurations
sed 's/"num_attention_heads": 2/"num_attention_heads": 0/' "$here/tiny.json" >zero.json
m init zero.json --data csv:pics/data.csv --out zero
absent zero
sed 's/"clip"/"clop"/' "$here/tiny.json" >other.json
m init other.json --data csv:pics/data.csv --out other
echo '{"a": ' >torn.json
m init torn.json --data csv:pics/data.csv --out torn
absent torn
m encode --model nosuch --text a
m encode --model empty --text a
# sets
m eval retrieval empty
m eval retrieval nosuch
printf 'x' >>set/image.npy
m eval retrieval set
