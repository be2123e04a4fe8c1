/* model/clip.h: inside room model. The CLIP family and its configurations. */
#ifndef MODEL_CLIP_H
#define MODEL_CLIP_H

#include "model/layer.h"

extern const struct model_family family_clip;

/* clip_config.c: sizes from and to the three layouts. image: other size of pictures than the configuration's; 0. */
bool clip_accepts(enum layout l, const json_t *config);
int clip_read_config(struct clip *c, enum layout l, const json_t *config, int64_t image, const char *where);
int clip_write_config(const struct model *m, enum layout l, json_t **out);

#endif
