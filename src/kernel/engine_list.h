/* kernel/engine_list.h: the engines, one line each: X(name, element type, opener, describer). Included by
 * engine.c only. A new engine starts from the ref table of its element type; its opener replaces what it does
 * better. */
#ifdef HAVE_CPU_ENGINE
X(cpu, DT_F32, engine_cpu_open, engine_cpu_describe)
#endif
X(ref, DT_F32, ref_open, ref_describe)
X(ref64, DT_F64, ref_open, ref_describe)
