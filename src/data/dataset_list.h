/* data/dataset_list.h: the kinds of dataset. A new kind is one file and one line here:
 * X(prefix of the spec, function that fills a struct dataset_build, what the help says). */
#ifndef DATA_DATASET_LIST_H
#define DATA_DATASET_LIST_H

#define DATASET_LIST(X)                                                                                                \
    X("emoji", dataset_build_emoji, "the built-in emoji world, drawn once on this machine")                            \
    X("csv", dataset_build_csv, "csv:FILE, a table (CSV or TSV) with columns filepath and caption or title")           \
    X("coco", dataset_build_coco, "coco:FILE.json, Karpathy's dataset_*.json or COCO's captions_*.json")               \
    X("folder", dataset_build_folder, "folder:DIR, one folder a class, or pictures without captions")                  \
    X("wds", dataset_build_wds, "wds:{000..099}.tar, webdataset shards, plain, .gz or .zst")                           \
    X("set", dataset_build_set, "set:SET, the pictures and captions behind a set that encode wrote")                   \
    X("reed", dataset_build_reed, "reed:DIR, CUB or Flowers with text_c10/CLASS/NAME.txt (Reed et al.)")               \
    X("czsl", dataset_build_czsl, "czsl:DIR, MIT-States or UT-Zappos: images/ATTR_OBJ/ and pair lists")                \
    X("waterbirds", dataset_build_waterbirds, "waterbirds:DIR, a folder with Waterbirds' metadata.csv")                \
    X("celeba", dataset_build_celeba, "celeba:DIR, a folder with list_attr_celeba.txt or .csv")                        \
    X("simat", dataset_build_simat, "simat:DIR, a folder with SIMAT's triplets.csv and captions.txt")                  \
    X("clip-retrieval", dataset_build_clip_retrieval, "vectors, not pictures: commands that take a SET read them")

#endif
