/* model/siglip.h: inside room model. The SigLIP family's row for model_list.h. */
#ifndef MODEL_SIGLIP_H
#define MODEL_SIGLIP_H

#include "model/model.h"

extern const struct model_family family_siglip;

#endif
