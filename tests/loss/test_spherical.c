/* tests/loss/test_spherical.c: distributions of directions against values of fifty digits (mpmath), integrals and
 * moments; AsymVLM's and ProLIP's objectives against central differences, sums over a grid and cases for paper. */
#include "loss/loss.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

/* d, k, vMF: ln I_v(k) - v ln(k/2) + ln Gamma(d/2), v = d/2 - 1, and I_{d/2}(k) / I_v(k); power spherical, b = (d-1)/2:
 * k ln 2 + ln(Gamma(b+k) Gamma(2b) / (Gamma(b) Gamma(2b+k))), ln 2 + psi(b+k) - psi(2b+k). By mpmath with 60 digits. */
struct value {
    int d;
    double k, norm[2], slope[2];
};
#define V(d, k, a, b, c, e)                                                                                            \
    {                                                                                                                  \
        d, k, {a, c},                                                                                                  \
        {                                                                                                              \
            b, e                                                                                                       \
        }                                                                                                              \
    }
static const struct value values[] = {
    V(2, 1e-8, 2.5e-17, 4.9999999999999999e-9, -6.9314716411060488e-9, -0.69314714766126469),
    V(2, 0.5, 0.061549719185481304, 0.24249961258080195, -0.10500911500948221, 0.079441541679835928),
    V(2, 3, 1.5853076218134209, 0.80998529395650453, 0.91629073187415507, 0.54018615277338802),
    V(2, 99, 95.784770613067901, 0.99493661024548301, 65.750383386547561, 0.68810942914742171),
    V(2, 101, 97.774745023173302, 0.99503712800952269, 67.126702416501779, 0.68820893906091213),
    V(2, 300, 296.22958759300223, 0.99833193979053353, 204.51948132125703, 0.69148190278023853),
    V(2, 5000, 4994.8224898735877, 0.99989999499899969, 3460.9049162610938, 0.69304718555994528),
    V(2, 1e6, 999992.17330631281, 0.999999499999875, 693139.7004395984, 0.69314668056007031),
    V(3, 1e-8, 1.6666666666666667e-17, 3.3333333333333333e-9, -3.0685281444005472e-9, -0.30685280944005479),
    V(3, 0.5, 0.041324854612918109, 0.16395341373865285, -0.058891517828191727, 0.026480513893278643),
    V(3, 3, 1.2057587014029855, 0.67163648998035584, 0.69314718055994531, 0.44314718055994531),
    V(3, 99, 93.711732969305465, 0.9898989898989899, 64.016400689446494, 0.68314718055994531),
    V(3, 101, 95.691732302598795, 0.9900990099009901, 65.382892423270205, 0.68334325899131786),
    V(3, 300, 293.60307034478385, 0.99666666666666667, 202.23704390323472, 0.68982492142373268),
    V(3, 5000, 4990.7896596280238, 0.9998, 3457.2185096283076, 0.69294722055194691),
    V(3, 1e6, 999985.49134226148, 0.999999, 693133.36504838735, 0.69314618056094531),
    V(8, 1e-8, 6.25e-18, 1.25e-9, -7.6480513009215753e-10, -0.076480512125152866),
    V(8, 0.5, 0.015600670341334208, 0.062305698884170292, -0.017753567587678529, 0.0025073647456589941),
    V(8, 3, 0.5342854815050097, 0.33936332401157148, 0.31845373111853462, 0.23430592189315714),
    V(8, 99, 85.824928991550175, 0.96509732256725644, 57.753056355638654, 0.65940930223778134),
    V(8, 101, 87.755810432006028, 0.96577962915260233, 59.072517199468458, 0.66004747889087491),
    V(8, 300, 282.97441621543243, 0.98838210609971264, 193.30422825385902, 0.68166224099887093),
    V(8, 5000, 4973.1412112202544, 0.99930017503499518, 3441.3006808833087, 0.69244784490261957),
    V(8, 1e6, 999954.59797114983, 0.999996500004375, 693104.20453397714, 0.69314368057657023),
    V(64, 1e-8, 7.8125e-19, 1.5625e-10, -7.9994880824342113e-11, -0.0079994880011561635),
    V(64, 0.5, 0.0019530672059830796, 0.0078120376655687659, -0.0019839812269736327, 3.1487139843295552e-5),
    V(64, 3, 0.070237798982513032, 0.046775535302932849, 0.045809536031294203, 0.037483889362575715),
    V(64, 99, 48.077221137800563, 0.73014242184102854, 32.248390185384437, 0.47617735631080048),
    V(64, 101, 49.541969590513533, 0.73458215907692101, 33.203718088845748, 0.47913694546615899),
    V(64, 300, 217.38920615679471, 0.90034102217337066, 144.21893735243576, 0.60224114486489971),
    V(64, 5000, 4830.2731777862967, 0.99371921865940101, 3317.6461955377274, 0.68690551965689147),
    V(64, 1e6, 999663.47178466635, 0.99996850048037548, 692832.48548858526, 0.69311568203249887),
    V(512, 1e-8, 9.765625e-20, 1.953125e-11, -9.7943098011568191e-12, -0.00097943097030218007),
    V(512, 0.5, 0.00024414050903780239, 0.00097656157230300436, -0.00024461812207111279, 4.7870367046862051e-7),
    V(512, 3, 0.0087889122196281154, 0.0058591746307210889, 0.0058422756242283606, 0.0048572040569199217),
    V(512, 99, 9.401311178925241, 0.18664770772080238, 7.9939876779317077, 0.14980536510391162),
    V(512, 101, 9.7781195344252301, 0.19015830273176713, 8.2959597179281238, 0.15216317362337356),
    V(512, 300, 77.160019394401162, 0.46147356525553692, 56.669819868903091, 0.31446402497274598),
    V(512, 5000, 4154.9011169957547, 0.95019990995617751, 2785.4157710265528, 0.64567182187607433),
    V(512, 1e6, 997807.65023367703, 0.99974453251240698, 691131.8646374262, 0.69289177831376619),
    V(768, 1e-8, 6.5104166666666667e-20, 1.3020833333333333e-11, -6.5231543670714992e-12, -0.00065231543017548333),
    V(768, 0.5, 0.00016276038226285064, 0.00065104139143621583, -0.00016297253980004103, 2.1248028448632276e-7),
    V(768, 3, 0.0058593304135317694, 0.0039061905519772798, 0.003898640415657323, 0.0032438060276992663),
    V(768, 99, 6.329112966513319, 0.12683765059316609, 5.6170126442593295, 0.10778404371836675),
    V(768, 101, 6.5852681251281028, 0.12931671822445693, 5.8344153557086327, 0.10961669795668321),
    V(768, 300, 54.844531517518612, 0.34439006511505761, 42.624386965992281, 0.2475045549064813),
    V(768, 5000, 3882.5402392229571, 0.92623006756754429, 2587.1084430200647, 0.62432770963980886),
    V(768, 1e6, 996865.22536269562, 0.99961657334444565, 690278.08085983679, 0.69276390084526657),
    V(4096, 1e-8, 1.220703125e-20, 2.44140625e-12, -1.2211502931804588e-12, -0.00012211502809659732),
    V(4096, 0.5, 3.0517577897737297e-5, 0.0001220703106818984, -3.0525029994103223e-5, 7.4542195194746529e-9),
    V(4096, 3, 0.0010986325179677418, 0.00073242148229046266, 0.00073215378499384747, 0.00060994950743845339),
    V(4096, 99, 1.1960621120787791, 0.024155825506153625, 1.1568966457698552, 0.023217124004253732),
    V(4096, 101, 1.2448611791470296, 0.024643235767196812, 1.2037857180495998, 0.023671841542125379),
    V(4096, 300, 10.957083249683935, 0.072853631211057704, 10.213854701239208, 0.065931343812866842),
    V(4096, 5000, 2129.8455416773821, 0.6710736348390922, 1453.4384513492084, 0.43807934004233936),
    V(4096, 1e6, 986692.92672133485, 0.99795459510427537, 681255.14386674756, 0.69110594796400817),
};

static const enum sphere_family families[2] = {SPHERE_VMF, SPHERE_PS};
static const char *const names[2] = {"von Mises-Fisher", "power spherical"};

/* ---- numbers ---- */

static void normalisers(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        for (int f = 0; f < 2; f++) {
            const struct value *v = &values[i];
            double norm = sphere_log_norm(families[f], v->d, v->k),
                   slope = sphere_log_norm_slope(families[f], v->d, v->k);
            double bar_n = 1e-15 + 1e-11 * fabs(v->norm[f]), bar_s = 1e-14 + 1e-11 * fabs(v->slope[f]);
            /* next to k = 0 the power spherical one is a difference of two that are 1e4 times as large */
            if (!(fabs(norm - v->norm[f]) <= bar_n + 1e-13) || !(fabs(slope - v->slope[f]) <= bar_s))
                fail_msg("%s, d %d, k %g: %.17g and %.17g, expected %.17g and %.17g", names[f], v->d, v->k, norm, slope,
                         v->norm[f], v->slope[f]);
        }
}

/* The three ways to the vMF normaliser meet: at r = 100, at v = 60, and where the series becomes short. */
static void seams(void **state UNUSED)
{
    static const struct {
        int d;
        double k;
    } at[] = {{4, 100}, {80, 92}, {121, 300}, {122, 300}, {123, 300}, {512, 16}, {512, 15.9}, {198, 10}, {3000, 38.7}};
    for (size_t i = 0; i < ARRAY_LEN(at); i++)
        for (int f = 0; f < 2; f++) {
            const double h = 1e-3;
            int d = at[i].d;
            for (double k = at[i].k - 3; k < at[i].k + 3; k += 0.1) {
                double up = sphere_log_norm(families[f], d, k + h), down = sphere_log_norm(families[f], d, k - h);
                double rise = (up - down) / (2 * h), slope = sphere_log_norm_slope(families[f], d, k);
                if (!(fabs(rise - slope) < 1e-7))
                    fail_msg("%s, d %d, k %g: slope %.12g, differences %.12g", names[f], d, k, slope, rise);
            }
            /* A_d(k) = 2 v'... three-term recurrence of I: A_{d}(k) (A_{d+2}(k) + d/k) = 1 */
            double k = at[i].k, a = sphere_mean_cosine(SPHERE_VMF, d, k), b = sphere_mean_cosine(SPHERE_VMF, d + 2, k);
            assert_true(fabs(a * (b + d / k) - 1) < 1e-11);
        }
}

/* Over the sphere the density is the uniform one's times e^l: its mean is 1. */
static void integrates_to_one(void **state UNUSED)
{
    static const double ks[] = {0, 0.3, 5, 80};
    static const int64_t ds[] = {2, 3, 4, 7, 50};
    enum { STEPS = 20000 };
    for (size_t i = 0; i < ARRAY_LEN(ks) * ARRAY_LEN(ds) * 2; i++) {
        enum sphere_family f = families[i % 2];
        double k = ks[i / 2 % ARRAY_LEN(ks)], sum = 0, mean = 0, half = 0;
        int64_t d = ds[i / 2 / ARRAY_LEN(ks)];
        double middle = sphere_cosine_at(f, d, k, 0.5);
        for (int n = 0; n < STEPS; n++) {
            double a = (n + 0.5) * 3.14159265358979324 / STEPS;
            double p = exp(sphere_log_density(f, d, k, cos(a)) + sphere_log_area(d - 1) - sphere_log_area(d) +
                           (double)(d - 2) * log(sin(a))) *
                       3.14159265358979324 / STEPS;
            sum += p;
            mean += p * cos(a);
            half += cos(a) >= middle ? p : 0;
        }
        if (d > 2 || k < 50) /* steps meet the peaks */
            assert_true(fabs(sum - 1) < 1e-7);
        assert_true(fabs(mean - sphere_mean_cosine(f, d, k)) < 1e-7);
        if (!(fabs(half - 0.5) < 2e-3))
            fail_msg("%s, d %d, k %g: %g beyond the median", names[i % 2], (int)d, k, half);
    }
    assert_true(fabs(exp(sphere_log_area(3)) - 12.5663706143591730) < 1e-12);
    assert_true(fabs(exp(sphere_log_area(2)) - 6.28318530717958648) < 1e-12);
}

static void draws(void **state UNUSED)
{
    static const struct {
        int64_t d;
        double k;
    } of[] = {{2, 0.5}, {2, 30}, {3, 2}, {5, 100}, {64, 40}, {512, 50}, {512, 1000}, {4, 0}, {8, 1e9}};
    enum { N = 4000 };
    for (size_t i = 0; i < ARRAY_LEN(of) * 2; i++) {
        enum sphere_family f = families[i % 2];
        int64_t d = of[i / 2].d;
        double k = of[i / 2].k, sum = 0, square = 0, beyond = 0, tail = sphere_cosine_at(f, d, k, 0.9);
        struct rng r = rng_stream(1, RNG_TEST, 0, i);
        for (int n = 0; n < N; n++) {
            double t = sphere_draw_cosine(&r, f, d, k);
            assert_true(t >= -1 && t <= 1);
            sum += (1 - t) / N;
            square += (1 - t) * (1 - t) / N;
            beyond += t >= tail ? 1.0 / N : 0;
        }
        double sd = sqrt(fmax(square - sum * sum, 0)), want = 1 - sphere_mean_cosine(f, d, k);
        if (!(fabs(sum - want) <= 4 * sd / sqrt(N) + 1e-12))
            fail_msg("%s, d %d, k %g: 1 - mean %g, expected %g", names[i % 2], (int)d, k, sum, want);
        if (k < 1e6 && !(fabs(beyond - 0.9) < 0.025))
            fail_msg("%s, d %d, k %g: %g before the nine tenths", names[i % 2], (int)d, k, beyond);
    }
}

/* Draws have length 1, lie about the mean direction and evenly around it. */
static void draws_on_the_sphere(void **state UNUSED)
{
    enum { D = 6, N = 4000 };
    double mean[D] = {0.6, 0, -0.8}, x[D], sum[D] = {0}, none[D] = {0};
    for (int f = 0; f < 2; f++) {
        struct rng r = rng_stream(2, RNG_TEST, 0, (uint64_t)f);
        memset(sum, 0, sizeof sum);
        for (int n = 0; n < N; n++) {
            double length = 0;
            sphere_around(&r, D, mean, sphere_draw_cosine(&r, families[f], D, 7), x);
            for (int j = 0; j < D; j++) {
                length += x[j] * x[j];
                sum[j] += x[j] / N;
            }
            assert_true(fabs(length - 1) < 1e-12);
        }
        for (int j = 0; j < D; j++)
            assert_true(fabs(sum[j] - mean[j] * sphere_mean_cosine(families[f], D, 7)) < 0.03);
        sphere_around(&r, D, none, sphere_draw_cosine(&r, families[f], D, 7), x);
        double length = 0;
        for (int j = 0; j < D; j++)
            length += x[j] * x[j];
        assert_true(fabs(length - 1) < 1e-12);
    }
}

/* ---- on a tape ---- */

enum { B = 5, D = 6 };

static struct tensor *asym(struct tape *t UNUSED, struct tensor **in, void *ctx)
{
    const int *how = ctx;
    static const uint8_t same[B * B] = {[1] = 1, [5] = 1};
    struct tensor *x = t_l2_normalize(in[0]), *m = t_l2_normalize(in[1]);
    return asym_loss(families[how[0]], x, m, t_exp(in[2]), in[3], how[1] & 1 ? same : NULL, how[1] & 2);
}

static struct tensor *prolip(struct tape *t UNUSED, struct tensor **in, void *ctx)
{
    if (!ctx)
        return prolip_loss(in[0], in[1], in[2], in[3], in[4], in[5], NULL);
    return prolip_inclusion_loss(in[0], in[2], in[1], in[3], 3);
}

static void random_numbers(double *x, int n, uint64_t index)
{
    struct rng r = rng_stream(3, RNG_TEST, 1, index);
    for (int i = 0; i < n; i++)
        x[i] = rng_normal(&r);
}

static void gradients(void **state UNUSED)
{
    double a[B * D], b[B * D], c[B * D], e[B * D], s = 0.7, shift = -0.4, worst;
    random_numbers(a, B * D, 0);
    random_numbers(b, B * D, 1);
    random_numbers(c, B * D, 2);
    random_numbers(e, B * D, 3);
    for (int how = 0; how < 8; how++) {
        const int dims[4] = {2, 2, 1, 0};
        const int64_t shapes[4][T_MAX_DIMS] = {{B, D}, {B, D}, {B}, {0}};
        double *const in[4] = {a, b, c, &s};
        assert_int_equal(grad_check(asym, (int[2]){how & 1, how >> 1}, 4, dims, shapes, in, 1e-5, &worst), 0);
        if (!(worst < 1e-6))
            fail_msg("AsymVLM, case %d: gradients off by %g", how, worst);
    }
    const int dims[6] = {2, 2, 2, 2, 0, 0};
    const int64_t shapes[6][T_MAX_DIMS] = {{B, D}, {B, D}, {B, D}, {B, D}, {0}, {0}};
    double *const in[6] = {a, b, c, e, &s, &shift};
    assert_int_equal(grad_check(prolip, NULL, 6, dims, shapes, in, 1e-5, &worst), 0);
    assert_true(worst < 1e-6);
    assert_int_equal(grad_check(prolip, &s, 4, dims, shapes, in, 1e-5, &worst), 0);
    assert_true(worst < 1e-6);
}

static struct tape *open_tape(void)
{
    const struct engine *e;
    struct tape *t;
    assert_int_equal(engine_open(&e, "ref64", 1), 0);
    assert_int_equal(tape_open(&t, e, &(struct tape_opt){.record = true}), 0);
    return t;
}

/* Both directions of the contrast, written out; and what masking does. */
static void asym_by_hand(void **state UNUSED)
{
    const double x[6] = {1, 0, 0, 0, 1, 0}, m[6] = {0.8, 0.6, 0, 0, 0, 1}, k[2] = {4, 9};
    const uint8_t same[4] = {0, 1, 1, 0};
    for (int f = 0; f < 2; f++) {
        struct tape *t = open_tape();
        struct tensor *tx = t_input(t, SHAPE(2, 3), x), *tm = t_input(t, SHAPE(2, 3), m), *tk = t_input(t, SHAPE(2), k);
        struct tensor *log_t = t_constant(t, log(2.0));
        double l[2][2], want[2] = {0, 0}; /* [picture][text] */
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++) {
                double c = x[3 * i] * m[3 * j] + x[3 * i + 1] * m[3 * j + 1] + x[3 * i + 2] * m[3 * j + 2];
                l[i][j] = 2 * sphere_log_density(families[f], 3, k[j], c);
            }
        for (int i = 0; i < 2; i++) {
            want[0] += 0.5 * (log(exp(l[0][i]) + exp(l[1][i])) - l[i][i]); /* a text over pictures */
            want[1] += 0.5 * (log(exp(l[i][0]) + exp(l[i][1])) - l[i][i]); /* a picture over texts */
        }
        double text = t_value(asym_loss(families[f], tx, tm, tk, log_t, NULL, true));
        double both = t_value(asym_loss(families[f], tx, tm, tk, log_t, NULL, false));
        double none = t_value(asym_loss(families[f], tx, tm, tk, log_t, same, false));
        assert_true(fabs(text - want[0]) < 1e-12);
        assert_true(fabs(both - 0.5 * (want[0] + want[1])) < 1e-12);
        assert_true(fabs(none) < 1e-12); /* no rival is left */
        assert_int_equal(tape_status(t), 0);
        tape_close(&t);
    }
}

/* ln int p1^2 p2 - ln int p1 p2^2 by sums over a grid */
static double inclusion_on_grid(double m1, double v1, double m2, double v2)
{
    double sum[2] = {0, 0};
    for (int i = -40000; i <= 40000; i++) {
        double z = i * 1e-3, a = exp(-0.5 * (z - m1) * (z - m1) / v1) / sqrt(v1);
        double b = exp(-0.5 * (z - m2) * (z - m2) / v2) / sqrt(v2);
        sum[0] += a * a * b;
        sum[1] += a * b * b;
    }
    return log(sum[0] / sum[1]);
}

static void inclusion(void **state UNUSED)
{
    static const double of[][4] = {{0, 1, 0, 1}, {0, 1, 0, 4}, {0.5, 0.3, -0.7, 2}, {1, 4, 0, 0.5}, {3, 1, 0, 1}};
    struct tape *t = open_tape();
    for (size_t i = 0; i < ARRAY_LEN(of); i++) {
        const double *c = of[i], l1 = log(c[1]), l2 = log(c[3]);
        struct tensor *in[4] = {t_input(t, SHAPE(1, 1), &c[0]), t_input(t, SHAPE(1, 1), &l1),
                                t_input(t, SHAPE(1, 1), &c[2]), t_input(t, SHAPE(1, 1), &l2)};
        double h = t_get(prolip_inclusion(in[0], in[1], in[2], in[3]), 0);
        double back = t_get(prolip_inclusion(in[2], in[3], in[0], in[1]), 0);
        assert_true(fabs(h - inclusion_on_grid(c[0], c[1], c[2], c[3])) < 1e-9);
        assert_true(fabs(h + back) < 1e-12);
        if (c[0] == c[2])
            assert_true(c[3] > c[1] ? h > 0 : h == 0);
        double loss = t_value(prolip_inclusion_loss(in[0], in[1], in[2], in[3], 10));
        assert_true(fabs(loss - log1p(exp(-10 * h))) < 1e-12);
    }
    assert_int_equal(tape_status(t), 0);
    tape_close(&t);
}

/* Two pairs of width 1, written out. */
static void prolip_by_hand(void **state UNUSED)
{
    const double mi[2] = {1, -0.5}, mt[2] = {0.7, -1}, li[2] = {-1, 0.2}, lt[2] = {-2, 0.1};
    const uint8_t same[4] = {0, 1, 0, 0};
    for (int shared = 0; shared < 2; shared++) {
        double want = 0;
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++) {
                double s = 3 * (mi[i] * mt[j] - 0.5 * (exp(li[i]) + exp(lt[j]))) - 1;
                want += 0.5 * log1p(exp(i == j || (shared && same[2 * i + j]) ? -s : s));
            }
        struct tape *t = open_tape();
        struct tensor *loss =
            prolip_loss(t_input(t, SHAPE(2, 1), mi), t_input(t, SHAPE(2, 1), mt), t_input(t, SHAPE(2, 1), li),
                        t_input(t, SHAPE(2, 1), lt), t_constant(t, log(3.0)), t_constant(t, -1), shared ? same : NULL);
        assert_true(fabs(t_value(loss) - want) < 1e-12);
        tape_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalisers),         cmocka_unit_test(seams),
        cmocka_unit_test(integrates_to_one),   cmocka_unit_test(draws),
        cmocka_unit_test(gradients),           cmocka_unit_test(asym_by_hand),
        cmocka_unit_test(draws_on_the_sphere), cmocka_unit_test(inclusion),
        cmocka_unit_test(prolip_by_hand),
    };
    return cmocka_run_group_tests_name("spherical", tests, NULL, NULL);
}
