# BLIP for retrieval is a model like any other: its common space into a set, and searched; [DEC] and [ENC] lie behind the vocabulary.
golden blip_itm_tiny
pictures pics 6
cp -r "$G" model
chmod -R u+w model
awk 'BEGIN {
    split("[PAD] [UNK] [CLS] [SEP] a red green blue square stripe number photo", word)
    for (i = 0; i < 198; i++)
        print i < 12 ? word[i + 1] : i < 22 ? i - 12 : "word" i
}' >model/vocab.txt
m encode --model model --data csv:pics/data.csv --out set --json
m search set --text "a red square" --model model -k 3 --json
m encode --model model --data "tensors:$G/inputs.safetensors" --out out.safetensors --engine ref --json
awk 'BEGIN { for (i = 0; i < 201; i++) print i < 4 ? (i == 0 ? "[PAD]" : i == 1 ? "[UNK]" : i == 2 ? "[CLS]" : "[SEP]") : "word" i }' >model/vocab.txt
m encode --model model --text "a red square"
