"""A model: pictures and texts to vectors of unit length, and, for those that can, matches and captions."""

import ctypes
from typing import Any, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from . import _arrays
from ._calls import call, take_text
from ._handles import Owner, free_waiting
from ._library import CaptionOpt, ModelOpt, lib

_AT_A_TIME = 64  # pictures from files that wait as pixels


class Model(Owner):
    """A model folder (HuggingFace, open_clip, OpenAI's layout), a run folder, or a shipped model by name ("emoji").

    engine: "cpu" (fast, the default), "ref" (plain C, slow, the truth). threads: 0 for all cores. dtype: "f32", or
    "bf16" for matrix products of operands rounded to bfloat16 (sums in float32). image_size: side of the pictures other
    than the folder says; position embeddings are interpolated.

    Raises MeridianError naming file and field where the folder cannot be read, UnsupportedError for an unknown engine.
    Safe to share between threads; one call computes at a time. close(), or `with`, gives the memory back; so does
    forgetting the model.
    """

    def __init__(self, path: Any, engine: Optional[str] = None, threads: int = 0, dtype: str = "f32",
                 image_size: Optional[int] = None) -> None:
        if dtype not in ("f32", "bf16"):
            raise ValueError(f'dtype: {dtype!r}, expected "f32" or "bf16"')
        opt = ModelOpt(size=ctypes.sizeof(ModelOpt), threads=_arrays.whole(threads, "threads", 0, 1024),
                       engine=None if engine is None else _arrays.text(engine, "engine"), low=int(dtype == "bf16"),
                       image_size=0 if image_size is None else _arrays.whole(image_size, "image_size", 1, 65535))
        free_waiting()
        out = ctypes.c_void_p()
        call(lib.mrd_model_open, ctypes.byref(out), _arrays.path(path, "path"), opt)
        self._own(out.value, lib.mrd_model_free, "model")
        self._fingerprint: Optional[str] = None
        with self._handle as h:
            self._width, self._side = lib.mrd_model_width(h), lib.mrd_model_image_size(h)
            self._context, self._vocab = lib.mrd_model_context(h), lib.mrd_model_vocab(h)
            self._scale = lib.mrd_model_logit_scale(h)
            self._name, self._family, self._layout = (f(h).decode("utf-8", "replace") for f in (
                lib.mrd_model_name, lib.mrd_model_family, lib.mrd_model_layout))

    # ---- what it is ----

    @property
    def width(self) -> int:
        """d, the length of its vectors."""
        return self._width

    @property
    def image_size(self) -> int:
        """Side of the square that it sees, in pixels."""
        return self._side

    @property
    def context(self) -> int:
        """Tokens of the longest text, both ends included."""
        return self._context

    @property
    def vocab(self) -> int:
        """Number of token ids."""
        return self._vocab

    @property
    def logit_scale(self) -> float:
        """The factor that multiplies cosines before the softmax, 1 / temperature; 0 when the model has none."""
        return self._scale

    @property
    def name(self) -> str:
        """As it was opened."""
        return self._name

    @property
    def family(self) -> str:
        """ "clip", "siglip", "blip_itm", "blip_caption", "coca"."""
        return self._family

    @property
    def layout(self) -> str:
        """How its files were written: "hf", "open_clip", "openai"."""
        return self._layout

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, preprocessing and tokenizer: equal fingerprints, equal vectors. Reads all weights."""
        if self._fingerprint is None:
            out = ctypes.c_void_p()
            with self._handle as h:
                call(lib.mrd_model_fingerprint, h, ctypes.byref(out))
            self._fingerprint = take_text(out.value)
        return self._fingerprint

    def __enter__(self) -> "Model":
        return self

    def __repr__(self) -> str:
        return f"<meridian.Model {self._name!r}: {self._family}, width {self._width}, {self._side} pixels>"

    # ---- arguments ----

    @staticmethod
    def _texts(texts: Any) -> List[bytes]:
        if not isinstance(texts, (list, tuple)):
            raise TypeError(f"texts: {type(texts).__name__}, expected a list of str")
        return [_arrays.text(t, f"texts[{i}]") for i, t in enumerate(texts)]

    @staticmethod
    def _paths(paths: Any) -> List[bytes]:
        if not isinstance(paths, (list, tuple)):
            raise TypeError(f"images: {type(paths).__name__}, expected a list of paths")
        return [_arrays.path(p, f"images[{i}]") for i, p in enumerate(paths)]

    def _pixels(self, images: Any) -> np.ndarray:
        return _arrays.floats(images, "images", "n 3 height width", sizes=(None, 3, self._side, self._side))

    def _pieces(self, images: Any) -> Iterator[Tuple[int, np.ndarray]]:
        """Pixels of either kind of images, some at a time, with the row where they begin."""
        if not isinstance(images, (list, tuple)):
            pixels = self._pixels(images)
            yield 0, pixels
            return
        paths = self._paths(images)
        for i in range(0, len(paths), _AT_A_TIME):
            yield i, self._preprocess(paths[i:i + _AT_A_TIME])

    # ---- vectors ----

    def encode_images(self, images: Any) -> np.ndarray:
        """Vectors [n, width] of unit length, float32, of a list of paths or of prepared pixels [n, 3, s, s].

        Files (JPEG, PNG, WebP, GIF, TIFF) are decoded, resized, cropped and normalised as the model's folder says; a
        picture that cannot be read is a DataError that names it. Pixels are taken as they are: s is image_size.
        """
        if not isinstance(images, (list, tuple)):
            x = self._pixels(images)
            out = _arrays.new((x.shape[0], self._width), np.float32, "vectors")
            with self._handle as h:
                call(lib.mrd_model_encode_pixels, h, _arrays.address(x), x.shape[0], _arrays.address(out))
            return out
        paths = self._paths(images)
        out = _arrays.new((len(paths), self._width), np.float32, "vectors")
        with self._handle as h:
            call(lib.mrd_model_encode_images, h, _arrays.strings(paths), len(paths), _arrays.address(out))
        return out

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors [n, width] of unit length, float32. Texts longer than the context are cut; the logger "meridian" says
        how many. DataError when the model's folder has no tokenizer."""
        items = self._texts(texts)
        out = _arrays.new((len(items), self._width), np.float32, "vectors")
        with self._handle as h:
            call(lib.mrd_model_encode_texts, h, _arrays.strings(items), len(items), _arrays.address(out))
        return out

    encode_image = encode_images  # the names that CLIP's own code uses
    encode_text = encode_texts

    # ---- the first halves ----

    def _preprocess(self, paths: List[bytes]) -> np.ndarray:
        out = _arrays.new((len(paths), 3, self._side, self._side), np.float32, "pixels")
        with self._handle as h:
            call(lib.mrd_model_preprocess, h, _arrays.strings(paths), len(paths), _arrays.address(out))
        return out

    def preprocess(self, images: Sequence[Any]) -> np.ndarray:
        """Pixels [n, 3, s, s], float32, of a list of paths: what encode_images computes first."""
        return self._preprocess(self._paths(images))

    def tokenize(self, texts: Sequence[str]) -> np.ndarray:
        """Token ids [n, context], int32, padded: what encode_texts computes first."""
        items = self._texts(texts)
        out = _arrays.new((len(items), self._context), np.int32, "tokens")
        with self._handle as h:
            call(lib.mrd_model_tokenize, h, _arrays.strings(items), len(items), _arrays.address(out), None)
        return out

    # ---- both at once ----

    def match(self, images: Any, texts: Sequence[str]) -> np.ndarray:
        """Does picture i show what text i says? Logits [n], float32; above 0: yes. Images as for encode_images.

        For models with a head that sees both (BLIP's image-text matching); UnsupportedError for others.
        """
        ids = self.tokenize(texts)
        n = len(images) if isinstance(images, (list, tuple)) else self._pixels(images).shape[0]
        if n != len(ids):
            raise ValueError(f"match: {n} images and {len(ids)} texts, expected as many of each")
        out = _arrays.new((n,), np.float32, "logits")
        with self._handle as h:
            for i, x in self._pieces(images):
                k = x.shape[0]
                call(lib.mrd_model_match, h, _arrays.address(x), _arrays.address(ids[i:i + k]), k, self._context,
                     _arrays.address(out[i:i + k]))
        return out

    def caption(self, images: Any, *, beam: int = 1, min_length: int = 0, max_length: int = 0,
                length_penalty: float = 1.0, repetition_penalty: float = 1.0, prompt: Optional[str] = None,
                scores: bool = False) -> Union[List[str], Tuple[List[str], np.ndarray]]:
        """One caption for each image; with scores also their scores [n], float64. Images as for encode_images.

        beam: 1 for greedy search, up to 64. min_length, max_length: tokens in all; 0: the family's usual. prompt: the
        caption goes on from here; None: the family's usual. UnsupportedError for models that cannot write.
        """
        opt = CaptionOpt(size=ctypes.sizeof(CaptionOpt), beam=_arrays.whole(beam, "beam", 1, 64),
                         min_length=_arrays.whole(min_length, "min_length", 0, 1 << 20),
                         max_length=_arrays.whole(max_length, "max_length", 0, 1 << 20),
                         length_penalty=_arrays.real(length_penalty, "length_penalty"),
                         repetition_penalty=_arrays.real(repetition_penalty, "repetition_penalty"),
                         prompt=None if prompt is None else _arrays.text(prompt, "prompt"))
        texts: List[str] = []
        values: List[np.ndarray] = []
        with self._handle as h:
            for _, x in self._pieces(images):
                k = x.shape[0]
                out, score = (ctypes.c_void_p * k)(), _arrays.new((k,), np.float64, "scores")
                call(lib.mrd_model_caption, h, _arrays.address(x), k, opt, out, _arrays.address(score))
                texts += [take_text(address) for address in out]
                values.append(score)
        if not scores:
            return texts
        return texts, np.concatenate(values) if values else np.empty(0)
