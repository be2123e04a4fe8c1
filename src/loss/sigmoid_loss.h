/* loss/sigmoid_loss.h: inside room loss. The row of loss_sigmoid for loss_list.h. */
#ifndef LOSS_SIGMOID_LOSS_H
#define LOSS_SIGMOID_LOSS_H

#include "loss/loss.h"

extern const struct loss_kind loss_sigmoid;

#endif
