/* adapt/method_list.h: every method of `meridian adapt`. A new one is src/adapt/method_NAME.c and one line here. */
X(probvlm)
X(pfe)
X(pcme)
X(pcmepp)
X(grove)
X(tta)
X(bayesvlm)
