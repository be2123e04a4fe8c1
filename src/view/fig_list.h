/* view/fig_list.h: the figures, in the order of the report. One line per figure: name, draw function, what it needs,
 * the question that heads its section. A new figure is a new file fig_NAME.c and a line here. Included several times
 * with another FIG. */
/* clang-format off */
FIG(recall,      fig_recall,      FIG_RETRIEVAL,                "How often is the right one found?")
FIG(clouds,      fig_clouds,      FIG_SET,                      "Two clouds or one?")
FIG(cosines,     fig_cosines,     FIG_GEOMETRY,                 "What does a score mean?")
FIG(reliability, fig_reliability, FIG_RETRIEVAL,                "Can its probabilities be believed?")
FIG(levels,      fig_levels,      FIG_RETRIEVAL | FIG_DOUBT,    "Does it know when it is wrong?")
FIG(risk,        fig_risk,        FIG_RETRIEVAL | FIG_DOUBT,    "What if it may say: I am not sure?")
FIG(spectrum,    fig_spectrum,    FIG_GEOMETRY,                 "How many directions are in use?")
FIG(best,        fig_best,        FIG_RETRIEVAL,                "What it finds without doubt")
FIG(worst,       fig_worst,       FIG_RETRIEVAL,                "Where it goes wrong")
FIG(sure,        fig_sure,        FIG_RETRIEVAL,                "What it is surest of")
FIG(unsure,      fig_unsure,      FIG_RETRIEVAL,                "What it is least sure of")
FIG(neighbours,  fig_neighbours,  FIG_SET,                      "Who lives next door?")
/* clang-format on */
