# A model in three layouts gives the same numbers to the bit; a set goes to clip-retrieval's folder and back.
golden clip_vit_tiny
must convert "$G" --to hf --out hf
m convert hf --to open_clip --out oc
m convert oc --to openai --out oa
m convert oa --to hf --out back
for x in hf oc oa back; do
    must encode --model $x --data "tensors:$G/inputs.safetensors" --out v.$x --engine ref
    cmp v.hf v.$x || fail "$x gives other vectors"
done
say "$(ls oc oa | tr '\n' ' ')"
m convert hf --to open_clip --out half --dtype-out float16 --json
tiny model
must encode --model model --data csv:pics/data.csv --out set
# values that travelled with one layout prove another: pads behind the end token are nobody's business
must doctor model --write
must convert model --to open_clip --out model-oc
must doctor model-oc --values model/doctor.safetensors
grep -q '^tokens  *right' .out || fail "tokens: $(cat .out)"
m convert set --to clip-retrieval --out cr
say "$(find cr -type f | sort | tr '\n' ' ')"
m convert cr --to set --out again
# one row a pair, so a picture with two captions stands there twice
# refusals: a layout that is none of its kind, one that cannot say this model, an output that exists
m convert hf --to set --out x
m convert set --to hf --out x
m convert model --to openai --out x
m convert hf --to open_clip --out oc
m convert hf --out x
m convert hf --to gguf --out x
absent x
