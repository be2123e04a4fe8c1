# Another library's numbers: embeddings and logits of the golden CLIP, fp32 within 2e-5, and its texts alone.
golden clip_vit_tiny
m encode --model "$G" --data "tensors:$G/inputs.safetensors" --out out.safetensors --engine ref --json
"$helper" compare out.safetensors "$G/expected.safetensors" 2e-5 image_embeds text_embeds >>"$transcript" || fail "embeddings"
"$helper" compare out.safetensors "$G/expected.safetensors" 1e-4 logits_per_image >>"$transcript" || fail "logits"
must encode --model "$G" --data "tensors:$G/inputs.safetensors" --out fast.safetensors
"$helper" compare fast.safetensors "$G/expected.safetensors" 2e-5 image_embeds text_embeds >>"$transcript" || fail "embeddings"
m encode --model "$G" --data "tensors:$G/expected.safetensors" --out none.safetensors
absent none.safetensors
m encode --model "$G" --text hello
