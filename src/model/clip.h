/* model/clip.h: inside room model. The CLIP family's row for model_list.h. */
#ifndef MODEL_CLIP_H
#define MODEL_CLIP_H

#include "model/model.h"

extern const struct model_family family_clip;

#endif
