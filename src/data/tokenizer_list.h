/* data/tokenizer_list.h: the kinds of tokenizers, in the order in which a folder is offered to them. A new kind is one
 * file and one line here. */
#ifndef DATA_TOKENIZER_LIST_H
#define DATA_TOKENIZER_LIST_H

#define TOKENIZER_LIST(X)                                                                                              \
    X(tokenizer_clip_bpe)      /* vocab.json with merges.txt, or tokenizer.json with end-of-word marks */              \
    X(tokenizer_wordpiece)     /* vocab.txt, or tokenizer.json of type WordPiece */                                    \
    X(tokenizer_byte_fallback) /* tokenizer.json of type BPE over characters (Gemma, SigLIP 2) */                      \
    X(tokenizer_sentencepiece) /* spiece.model or tokenizer.model */

#endif
