/* model/resnet.h: inside room model. OpenAI's ModifiedResNet as the image tower of CLIP. */
#ifndef MODEL_RESNET_H
#define MODEL_RESNET_H

#include "model/layer.h"

struct bottleneck;
/* A batch norm with the number of batches it has seen. */
struct counted_norm {
    struct batch_norm n;
    struct tensor count;
};
struct resnet {
    int64_t layers[4], width, image, heads, embed; /* heads of the attention pool */
    double eps, momentum;                          /* of the batch norms */
    struct tensor conv[3];
    struct counted_norm norm[3];
    struct bottleneck *blocks; /* of all four layers, one after the other */
    struct tensor positions;   /* [1 + (image / 32)^2, 32 width] */
    struct linear q, k, v, c;
};
/* For tests and the doctor: [B,C,h,w] after the stem's pool and after each layer. */
struct resnet_trace {
    struct tensor *stem, *layer[4];
};
int64_t resnet_n_blocks(const struct resnet *r);
/* The sizes are set; checks them, allocates the blocks. image: another size of pictures; 0. */
int resnet_make(struct resnet *r, struct arena *a, int64_t image, const char *where);
int resnet_bind(struct resnet *r, struct params *p, struct arena *a); /* names of OpenAI and open_clip, "visual." */
struct tensor *resnet_forward(const struct resnet *r, struct tensor *pixels, struct resnet_trace *trace); /* [B,E] */
void resnet_train_mode(struct resnet *r, bool training);

#endif
