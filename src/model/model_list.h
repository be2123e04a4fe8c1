/* model/model_list.h: every encoder family. A new one is one file and one line here. */
MODEL_FAMILY(family_clip)
MODEL_FAMILY(family_siglip)
MODEL_FAMILY(family_blip_itm)
MODEL_FAMILY(family_blip_caption)
MODEL_FAMILY(family_coca)
