/* loss/clip_loss.h: inside room loss. The row of loss_clip for loss_list.h. */
#ifndef LOSS_CLIP_LOSS_H
#define LOSS_CLIP_LOSS_H

#include "loss/loss.h"

extern const struct loss_kind loss_clip;

#endif
