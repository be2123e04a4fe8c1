/* train/schedule.c: learning-rate schedules as functions of the step alone, so that a resumed run needs no state. */
#include "train/train.h"

#include <math.h>

double schedule_cosine(int64_t step, int64_t warmup, int64_t total, double floor)
{
    if (step < warmup)
        return (double)(step + 1) / (double)warmup;
    if (step >= total)
        return floor;
    double at = (double)(step - warmup) / (double)(total - warmup > 0 ? total - warmup : 1);
    return floor + (1.0 - floor) * 0.5 * (1.0 + cos(3.14159265358979323846 * at));
}
