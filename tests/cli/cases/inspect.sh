# inspect shows what a file is; doctor proves a model. The golden model stands for anybody's folder.
golden clip_vit_tiny
mkdir m && cp "$G"/config.json "$G"/preprocessor_config.json "$G"/model.safetensors m/ && chmod u+w m/*
m inspect m
m inspect m/model.safetensors --json
printf 'filepath\tcaption\na.png\tan apple\n' >t.tsv
m inspect t.tsv
# a pickle is refused with the advice how to convert it, alone and as the only weights of a folder
mkdir p && cp m/config.json p/ && printf 'PK' >p/pytorch_model.bin
m inspect p/pytorch_model.bin
m encode --model p --text x
# a folder that is nothing, a file that is nothing
mkdir empty && : >what.xyz
m inspect empty
m inspect what.xyz
m inspect nowhere
# no values travel with this model: the engine is held against plain C
m doctor m
m doctor m --write
m doctor m
# another activation is found at the first layer
sed -i 's/"quick_gelu"/"gelu"/' m/config.json
m doctor m
