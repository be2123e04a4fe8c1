# What data name: every command says what was found; rows that cannot be used are listed, and the job goes on.
pictures pics 6
cp -r pics bad
printf 'no picture' >bad/p1.png
rm bad/p2.png
printf 'p3.png,,red\np4.png,caf\351,red\np5.png,one,two,three\n' >>bad/data.csv
m data csv:pics/data.csv -n 1
m data csv:bad/data.csv -n 3 --failed failed.tsv
cat failed.tsv >.out && cat .out >>"$transcript"
m data csv:bad/data.csv -n 1 --json
printf 'filepath\ttitle\np0.png\ta tab, and a comma\n' >pics/open_clip.tsv
m data csv:pics/open_clip.tsv -n 1
m data csv:pics/open_clip.tsv --csv-separator , -n 1
m data csv:pics/data.csv --csv-img-key filepath --csv-caption-key label --csv-separator comma -n 1
m data csv:pics/data.csv --images-root nosuch
mkdir -p classes/red_fox && cp pics/p0.png classes/red_fox/
printf 'a photo of a {}.\nart of {c}\n' >prompts.txt
m data folder:classes --templates prompts.txt
printf '{"images":[{"file_name":"p0.png","id":1}],"annotations":[{"image_id":1,"caption":"one"},{"image_id":2,"caption":"two"}]}' >caps.json
m data coco:caps.json --images-root pics
head -c 60 caps.json >cut.json
m data coco:cut.json
m data 'wds:{0..3}.tar'
m data caps.json
tiny model
m train --model model --data csv:bad/data.csv --out run --epochs 1 --batch 2 --json
grep -c '"event":"left_out"' run/run.jsonl >.out && cat .out >>"$transcript"
must encode --model model --data csv:pics/data.csv --out set
m data set:set -n 1
