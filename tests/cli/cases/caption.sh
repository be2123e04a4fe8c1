# Captions of a tiny random captioner with a vocabulary made here: words are nonsense, but they are the same everywhere.
golden blip_caption_tiny
pictures pics 5
cp -r "$G" model
chmod -R u+w model
awk 'BEGIN {
    split("[PAD] [UNK] [CLS] [SEP]", special)
    for (i = 0; i < 158; i++)
        print i < 4 ? special[i + 1] : i == 129 ? "a" : i == 122 ? "picture" : i == 30 ? "of" : i == 40 ? "photo" : "word" i
}' >model/vocab.txt

# one caption a line; a picture that is none costs its line and the exit code
printf 'no picture' >broken.png
m caption --model model pics/p0.png pics/p1.png broken.png pics/p3.png
for engine in ref ref64; do
    start caption --model model pics/p0.png pics/p1.png --engine $engine >.out 2>.err || fail "engine $engine"
    [ "$(cat .out)" = "$(printf 'word53\nword135 word125')" ] || fail "engine $engine: $(cat .out)"
done

# BLIP's prompt is there without asking; another one, and none
m caption --model model pics/p0.png --json
m caption --model model pics/p0.png --prompt "a photo" --beam 3 --min-length 8 --max-length 12 --json
m caption --model model pics/p0.png --prompt "" --max-length 5 --json
m caption --model model pics/p0.png --image-size 48 --threads 1

# a dataset into a table
pictures data 5
cp broken.png data/p2.png
m caption --model model --data csv:data/data.csv --out captions.tsv
cat captions.tsv >>"$transcript"
m caption --model model --data csv:data/data.csv --out captions.tsv
m caption --model model --data csv:pics/data.csv --out captions.jsonl --json
cut -c 1-40 captions.jsonl >>"$transcript"
absent captions.txt

# what cannot be
m caption --model model
m caption --model model pics/p0.png --out captions.txt
m caption --model model --data csv:pics/data.csv --out captions.txt
m caption --model model pics/p0.png --max-length 33
m caption --model model pics/p0.png --beam 65
m caption --model model pics/p0.png --prompt "a a a a a a a a a a a a a a a a a a a a a a a a"
m caption --model model pics/p0.png --image-size 47
tiny mute
m caption --model mute pics/p0.png
m encode --model model --image pics/p0.png
m train --model model --data csv:pics/data.csv --out run
absent run
m doctor model --write
rm model/vocab.txt
m caption --model model pics/p0.png
m caption --model model pics/p0.png --json
