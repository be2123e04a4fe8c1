/* eval/measure_list.h: every measure by command, key in its JSON object, one line of text, which way is better.
 * A new measure is a new line here and a new field; result.c prints it, a test checks that each key appears. */
#define MEASURE_LIST(X)                                                                                                \
    X("eval retrieval", "recall.1", "share of queries whose best positive is the top item", 1)                         \
    X("eval retrieval", "recall.5", "share of queries with a positive among the top 5", 1)                             \
    X("eval retrieval", "recall.10", "share of queries with a positive among the top 10", 1)                           \
    X("eval retrieval", "recall_pessimistic.1", "recall at 1 when every tie counts against the query", 1)              \
    X("eval retrieval", "recall_mid.1", "recall at 1 when ties count half", 1)                                         \
    X("eval retrieval", "mrr", "mean of one over the rank of the best positive", 1)                                    \
    X("eval retrieval", "median_rank", "median rank of the best positive, from 1", -1)                                 \
    X("eval retrieval", "mean_rank", "mean rank of the best positive, from 1", -1)                                     \
    X("eval retrieval", "ece", "expected calibration error, bins of equal width", -1)                                  \
    X("eval retrieval", "ece_equal_mass", "expected calibration error, bins of equal mass", -1)                        \
    X("eval retrieval", "brier", "Brier score, the positives as one outcome", -1)                                      \
    X("eval retrieval", "nll", "mean of -ln of the positives' total probability", -1)                                  \
    X("eval retrieval", "temperature", "softmax temperature used for calibration", 0)                                  \
    X("eval retrieval", "fitted_temperature", "temperature of least nll on this set", 0)                               \
    X("eval retrieval", "ece_fitted", "expected calibration error at the fitted temperature", -1)                      \
    X("eval geometry", "alignment", "mean squared distance of the pairs", -1)                                          \
    X("eval geometry", "relative_alignment", "pair minus nearest other text, squared distances, image anchor", -1)     \
    X("eval geometry", "relative_alignment_by_anchor.text", "pair minus nearest other image, text anchor", -1)         \
    X("eval geometry", "uniformity.image", "ln mean exp(-2 d^2) over pairs of images", -1)                             \
    X("eval geometry", "uniformity.text", "ln mean exp(-2 d^2) over pairs of texts", -1)                               \
    X("eval geometry", "uniformity.pooled", "ln mean exp(-2 d^2) over all pairs of rows", -1)                          \
    X("eval geometry", "uniformity.cross", "ln mean exp(-2 d^2) over all image-text pairs", -1)                        \
    X("eval geometry", "centroid_distance", "distance of the two means", 0)                                            \
    X("eval geometry", "linear_separability", "held-out accuracy of a linear classifier image or text", 0)             \
    X("eval geometry", "effective_rank", "effective rank of all rows together", 1)                                     \
    X("eval geometry", "effective_rank_by_side.image", "effective rank of the images", 1)                              \
    X("eval geometry", "effective_rank_by_side.text", "effective rank of the texts", 1)                                \
    X("eval geometry", "mean_cosine.matched", "mean cosine of the pairs", 1)                                           \
    X("eval geometry", "mean_cosine.unmatched", "mean cosine of image and text that are no pair", -1)                  \
    X("eval geometry", "mean_cosine.image_image", "mean cosine of two images", 0)                                      \
    X("eval geometry", "mean_cosine.text_text", "mean cosine of two texts", 0)
