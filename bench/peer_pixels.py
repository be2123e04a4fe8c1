#!/usr/bin/python3
"""The other half of bench/pixels: OpenAI's transform with torchvision and Pillow, on one thread.

    peer_pixels.py SIZE OUT.f32 FILE...      prints seconds, files, most memory in MiB
    peer_pixels.py make DIR COUNT            draws JPEG files: 640 x 480 and 480 x 640, quality 90
"""
import random
import resource
import sys
import time


def make(where, count):
    from PIL import Image, ImageFilter
    r = random.Random(1)
    for i in range(count):
        size = (640, 480) if i % 3 else (480, 640)
        coarse = Image.frombytes("RGB", (40, 30), r.randbytes(3600)).resize(size, Image.BICUBIC)
        fine = Image.frombytes("RGB", size, r.randbytes(size[0] * size[1] * 3)).filter(ImageFilter.GaussianBlur(1))
        Image.blend(coarse, fine, 0.25).save("%s/%03d.jpg" % (where, i), quality=90)


def main():
    if sys.argv[1] == "make":
        return make(sys.argv[2], int(sys.argv[3]))
    import torch
    from PIL import Image
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor
    torch.set_num_threads(1)
    size, out, files = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    steps = Compose([Resize(size, interpolation=InterpolationMode.BICUBIC), CenterCrop(size),
                     lambda im: im.convert("RGB"), ToTensor(),
                     Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))])
    steps(Image.open(files[0]))
    started = time.perf_counter()
    done = [steps(Image.open(f)) for f in files]
    seconds = time.perf_counter() - started
    if out != "-":
        with open(out, "wb") as f:
            for x in done:
                f.write(x.numpy().tobytes())
    print("%.6f %d %.1f" % (seconds, len(files), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


main()
