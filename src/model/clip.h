/* model/clip.h: inside room model. The CLIP family and its configurations; open_clip's are CoCa's too. */
#ifndef MODEL_CLIP_H
#define MODEL_CLIP_H

#include "model/layer.h"
#include "model/resnet.h"

extern const struct model_family family_clip;

/* clip_config.c: sizes from and to the three layouts. image: other size of pictures than the configuration's; 0. */
bool clip_accepts(enum layout l, const json_t *config);
int clip_read_config(struct model *m, struct clip *c, const json_t *config, int64_t image, const char *where);
int clip_write_config(const struct model *m, enum layout l, json_t **out);

/* clip_fields.c */
struct config_field {
    const char *key, *only; /* only: the one text accepted; NULL: read elsewhere, or without influence */
};
/* Refuses a field that is not in the list and not off, ERR_UNSUPPORTED by its name. */
int config_check_fields(const json_t *o, const struct config_field *fields, size_t n, const char *where);
/* vision_cfg and text_cfg of open_clip. The caller checks the fields. */
int oc_read_image_size(const json_t *cfg, int64_t *size, const char *where);
int oc_read_vit(struct vit *v, const json_t *cfg, bool quick, int64_t image, const char *where);
int oc_read_text(struct text_tower *x, const json_t *cfg, bool quick, const char *where);

#endif
