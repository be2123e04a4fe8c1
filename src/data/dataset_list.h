/* data/dataset_list.h: the kinds of dataset. A new kind is one file and one line here:
 * X(prefix of the spec, function that fills a struct dataset_build, what the help says). */
#ifndef DATA_DATASET_LIST_H
#define DATA_DATASET_LIST_H

#define DATASET_LIST(X)                                                                                                \
    X("emoji", dataset_build_emoji, "the built-in emoji world, drawn once on this machine")                            \
    X("csv", dataset_build_csv, "csv:FILE, a table (CSV or TSV) with columns filepath and caption or title")           \
    X("folder", dataset_build_folder, "folder:DIR, one folder a class, or pictures without captions")                  \
    X("clip-retrieval", dataset_build_clip_retrieval, "vectors, not pictures: commands that take a SET read them")

#endif
