# The float tensor of the original transform, with the numbers of a model's file and with named ones.
golden preprocess_clip
printf '{"crop_size": 48, "size": 48, "do_resize": true, "do_center_crop": true, "do_normalize": true, "resample": 3, "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}' >preprocessor_config.json
must preprocess --model . "$G/images/jpeg_444_landscape.jpg" "$G/images/png_gray8.png" --out f.npy --json
grep -q '"shape": \[2, 3, 48, 48\]' .out || fail "shape"
"$helper" same f.npy "$G/expected.safetensors" 0.05 "jpeg_444_landscape.jpg|tensor" >>"$transcript" || fail "values"
m preprocess --model . nosuch.png --out g.npy
absent g.npy
m preprocess --model . "$G/images/png_rgb.png" --out f.npy
must preprocess --size 48 --variant openai "$G/images/jpeg_444_landscape.jpg" "$G/images/png_rgb.png" --out o.npy
"$helper" same o.npy "$G/expected.safetensors" 0 "jpeg_444_landscape.jpg|tensor" "png_rgb.png|tensor" >>"$transcript" || fail "values of --variant openai"
must preprocess --size 48 --variant openai "$G/images/png_rgba.png" --out a.npy
must preprocess --size 48 --variant hf "$G/images/png_rgba.png" --out h.npy
cmp -s a.npy h.npy && fail "a picture with alpha is the same both ways"
must preprocess --size 48 --variant openai "$G/images/png_gray16.png" --out white.npy
must preprocess --size 48 --variant openai --sixteen-bit high_byte "$G/images/png_gray16.png" --out gray.npy
cmp -s white.npy gray.npy && fail "gray of 16 bits is the same both ways"
must preprocess --size 48 --variant hf --exif "$G/images/jpeg_exif_rotated.jpg" --out turned.npy
m preprocess "$G/images/png_rgb.png" --out x.npy
m preprocess --size 48 "$G/images/png_rgb.png" --out x.npy
m preprocess --model . --variant hf "$G/images/png_rgb.png" --out x.npy
absent x.npy
