/* model/vit.c: the vision transformer (Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words") as CLIP, BLIP, CoCa
 * and SigLIP use it: class token or none, a bias on the patches or none, a norm before the layers or none.
 *
 *   pixels [B,3,H,W] - patches - (+ class token) + positions - (norm) - blocks -> [B,N,V] */
#include "model/layer.h"

static struct tensor *enter(const struct vit *v, struct tensor *pixels)
{
    struct tensor *x = t_linear(t_patchify(pixels, v->patch), MUTABLE(struct linear, v->patch_embed)); /* [B,N,V] */
    if (v->has_class)
        x = t_prepend(MUTABLE(struct tensor, v->class_token), x); /* [B,1+N,V] */
    x = t_add(x, MUTABLE(struct tensor, v->positions));
    return v->has_pre ? t_layer_norm(x, MUTABLE(struct norm, v->norm_pre)) : x;
}

static struct tensor *layers(const struct vit *v, struct tensor *x, int64_t n, struct trace *trace)
{
    if (trace && trace->states)
        trace->states[0] = x;
    for (int64_t i = 0; i < n; i++) {
        x = layer_block(x, &v->tower, i, (struct sight){0});
        if (trace && trace->states)
            trace->states[i + 1] = x;
        if (trace && i == 0)
            trace->first = x;
    }
    return x;
}

struct tensor *vit_tokens(const struct vit *v, struct tensor *pixels, struct trace *trace)
{
    return pixels ? layers(v, enter(v, pixels), v->tower.layers, trace) : NULL;
}

struct tensor *vit_class(const struct vit *v, struct tensor *pixels, struct trace *trace)
{
    if (!pixels)
        return NULL;
    struct tensor *x;
    if (trace) {
        x = t_row(vit_tokens(v, pixels, trace), 0);
    } else {
        int32_t *class_row = arena_calloc(tape_arena(pixels->tape), (size_t)pixels->shape[0], sizeof *class_row);
        if (!class_row)
            return NULL;
        int64_t last = v->tower.layers - 1;
        x = layer_block_row(layers(v, enter(v, pixels), last, NULL), &v->tower, last, (struct sight){0}, class_row);
    }
    x = t_layer_norm(x, MUTABLE(struct norm, v->norm_post)); /* [B,V] */
    if (trace)
        trace->pooled = x;
    return x;
}
