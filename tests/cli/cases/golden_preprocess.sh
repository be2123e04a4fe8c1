# The float tensor of the original transform.
golden preprocess_clip
printf '{"crop_size": 48, "size": 48, "do_resize": true, "do_center_crop": true, "do_normalize": true, "resample": 3, "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}' >preprocessor_config.json
must preprocess --model . "$G/images/jpeg_444_landscape.jpg" "$G/images/png_gray8.png" --out f.npy --json
grep -q '"shape": \[2, 3, 48, 48\]' .out || fail "shape"
"$helper" same f.npy "$G/expected.safetensors" 0.05 "jpeg_444_landscape.jpg|tensor" >>"$transcript" || fail "values"
m preprocess --model . nosuch.png --out g.npy
absent g.npy
m preprocess --model . "$G/images/png_rgb.png" --out f.npy
