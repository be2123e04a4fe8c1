/* loss/loss_list.h: every objective. A new one is one file and one line here. */
LOSS_KIND(loss_clip)
LOSS_KIND(loss_sigmoid)
