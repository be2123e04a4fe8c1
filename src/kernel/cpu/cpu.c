/* kernel/cpu/cpu.c: opens the fast engine: asks the processor what it can do and fills the table accordingly.
 *
 * __builtin_cpu_supports and not a build option: one program runs on every x86-64 and uses what it finds; aarch64 gets
 * the baseline loops. The environment variable MERIDIAN_CPU=base|avx2|avx512 lowers the choice, for tests. */
#include "kernel/cpu/cpu.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct cpu_vec cpu_vec;
struct engine cpu_ref;

static struct {
    void *p[N_SCRATCHES];
    size_t n[N_SCRATCHES];
    char text[96];
} state;

void *cpu_scratch(enum cpu_scratch which, size_t n_bytes)
{
    if (n_bytes == 0)
        n_bytes = 1;
    if (state.n[which] < n_bytes) {
        void *p = mem_alloc(n_bytes + n_bytes / 8);
        if (!p)
            return NULL;
        mem_free(state.p[which]);
        state.p[which] = p;
        state.n[which] = n_bytes + n_bytes / 8;
    }
    return state.p[which];
}

enum isa { ISA_BASE, ISA_AVX2, ISA_AVX512, ISA_AVX512_BF16, ISA_AMX_BF16 };
static const char *const isa_names[] = {"base", "avx2", "avx512", "avx512_bf16", "amx_bf16"};

#ifdef __x86_64__
#include <cpuid.h>

static bool amx_bf16(void)
{
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1); /* AMX-BF16, AMX-TILE */
}

static enum isa machine_isa(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return ISA_BASE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return ISA_AVX2;
    if (amx_bf16())
        return ISA_AMX_BF16;
    return __builtin_cpu_supports("avx512bf16") ? ISA_AVX512_BF16 : ISA_AVX512;
}
#else
static enum isa machine_isa(void)
{
    return ISA_BASE;
}
#endif

static enum isa chosen_isa(void)
{
    enum isa isa = machine_isa();
    const char *wish = getenv("MERIDIAN_CPU");
    for (size_t i = 0; wish && i < ARRAY_LEN(isa_names); i++)
        if (strcmp(wish, isa_names[i]) == 0 && (enum isa)i < isa)
            isa = (enum isa)i;
    return isa;
}

static void fill(struct engine *e, enum isa isa)
{
#ifdef __x86_64__
    if (isa >= ISA_AVX512) {
        cpu_point_fill_avx512(e, &cpu_vec);
        cpu_norm_fill_avx512(e);
        cpu_move_fill_avx512(e);
        cpu_ggd_fill_avx512(e);
        cpu_attention_fill_avx512(e);
        if (isa >= ISA_AVX512_BF16)
            cpu_bf16_fill(&cpu_vec);
        return;
    }
    if (isa == ISA_AVX2) {
        cpu_point_fill_avx2(e, &cpu_vec);
        cpu_norm_fill_avx2(e);
        cpu_move_fill_avx2(e);
        cpu_ggd_fill_avx2(e);
        cpu_attention_fill_avx2(e);
        return;
    }
#endif
    cpu_point_fill_base(e, &cpu_vec);
    cpu_norm_fill_base(e);
    cpu_move_fill_base(e);
    cpu_ggd_fill_base(e);
    cpu_attention_fill_base(e);
}

int engine_cpu_open(struct engine *e, int threads)
{
    BUG_ON(e->real != DT_F32 || !e->matmul);
    if (threads < 0 || threads > 1024)
        FAIL(ERR_USAGE, "engine cpu: %d threads; expected 0 (all cores) to 1024", threads);
    if (threads == 0)
        threads = omp_get_num_procs();
    enum isa isa = chosen_isa();
    cpu_ref = *e;
    cpu_ref.threads = threads;
    e->name = "cpu";
    e->threads = threads;
    omp_set_num_threads(threads);
    fill(e, isa);
    cpu_conv_fill(e);
#ifdef HAVE_ONEDNN
    TRY(cpu_onednn_open(e, isa >= ISA_AVX512_BF16));
    const char *products = cpu_onednn_version();
#else
    const char *products = "own products";
#endif
#ifdef __x86_64__
    if (isa >= ISA_AVX512)
        cpu_few_fill(e);
#endif
    (void)snprintf(state.text, sizeof state.text, "%s, %d thread%s, %s", isa_names[isa], threads,
                   threads == 1 ? "" : "s", products);
    return 0;
}

const char *engine_cpu_describe(const struct engine *e)
{
    (void)e;
    return state.text;
}
