/* Sums of w tanh(q + k) over the hidden width, without a queries x keys x hidden array.

   With a = exp(2q), b = exp(2k) and r = 1 / (1 + a b): tanh(q + k) = 1 - 2 r, and its derivative
   is 4 r (1 - r). What is left for each element is one product, one reciprocal and one sum.

   This file compiles itself twice, for float and for double: REAL is the type, NAME(x) the name.
   Keys come padded to a multiple of LANES, so that the inner loops have fixed lengths. */

#define LANES 16

#ifndef REAL

#define REAL float
#define NAME(x) x##_float
#include __FILE__
#undef REAL
#undef NAME
#define REAL double
#define NAME(x) x##_double
#include __FILE__

#else

/* Some keys of one query: out_j = sum_d w_d (1 - 2 r_dj); `width` is a constant where inlined. */
static inline __attribute__((always_inline)) void NAME(row)(
    const REAL *restrict a, const REAL *restrict b, const REAL *restrict w, REAL total,
    REAL *restrict out, long keys, long hidden, const int width)
{
    REAL sum[64];
    for (int j = 0; j < width; j++) sum[j] = 0;
    for (long d = 0; d < hidden; d++) {
        const REAL ad = a[d], wd = w[d];
        const REAL *bd = b + d * keys;
        for (int j = 0; j < width; j++) sum[j] += wd / (1 + ad * bd[j]);
    }
    for (int j = 0; j < width; j++) out[j] = total - 2 * sum[j];
}

/* a: queries x hidden, b: hidden x keys, w: hidden, out: queries x keys. */
static void NAME(forward_one)(const REAL *a, const REAL *b, const REAL *w, REAL *out,
                              long queries, long keys, long hidden)
{
    REAL total = 0;
    for (long d = 0; d < hidden; d++) total += w[d];
    for (long first = 0; first < keys;) {
        const int wide = keys - first >= 64;
        for (long i = 0; i < queries; i++) {
            const REAL *ai = a + i * hidden;
            REAL *to = out + i * keys + first;
            if (wide) NAME(row)(ai, b + first, w, total, to, keys, hidden, 64);
            else NAME(row)(ai, b + first, w, total, to, keys, hidden, LANES);
        }
        first += wide ? 64 : LANES;
    }
}

/* grad: queries x keys. Adds to dq (queries x hidden), dk (hidden x keys) and dw (hidden). */
static void NAME(backward_one)(const REAL *a, const REAL *b, const REAL *w, const REAL *grad,
                               REAL *dq, REAL *dk, REAL *dw,
                               long queries, long keys, long hidden)
{
    for (long i = 0; i < queries; i++) {
        const REAL *restrict g = grad + i * keys;
        REAL mass = 0;
        for (long j = 0; j < keys; j++) mass += g[j];
        for (long d = 0; d < hidden; d++) {
            const REAL ad = a[i * hidden + d], wd = 4 * w[d];
            const REAL *restrict bd = b + d * keys;
            REAL *restrict dkd = dk + d * keys;
            REAL taken[LANES] = {0}, slope[LANES] = {0};
            for (long j = 0; j < keys; j += LANES)
                for (int l = 0; l < LANES; l++) {
                    const REAL r = 1 / (1 + ad * bd[j + l]);
                    const REAL t = g[j + l] * r;
                    const REAL u = t - t * r;
                    taken[l] += t;
                    slope[l] += u;
                    dkd[j + l] += wd * u;
                }
            REAL t = 0, u = 0;
            for (int l = 0; l < LANES; l++) { t += taken[l]; u += slope[l]; }
            dq[i * hidden + d] += wd * u;
            dw[d] += mass - 2 * t;
        }
    }
}

/* Problems first to last (batch x maps of them, w goes by map), queries from to to of each. */
void NAME(forward)(const REAL *a, const REAL *b, const REAL *w, REAL *out,
                   long first, long last, long from, long to,
                   long maps, long queries, long keys, long hidden)
{
    for (long n = first; n < last; n++)
        NAME(forward_one)(a + (n * queries + from) * hidden, b + n * hidden * keys,
                          w + n % maps * hidden, out + (n * queries + from) * keys,
                          to - from, keys, hidden);
}

void NAME(backward)(const REAL *a, const REAL *b, const REAL *w, const REAL *grad,
                    REAL *dq, REAL *dk, REAL *dw,
                    long first, long last, long from, long to,
                    long maps, long queries, long keys, long hidden)
{
    for (long n = first; n < last; n++)
        NAME(backward_one)(a + (n * queries + from) * hidden, b + n * hidden * keys,
                           w + n % maps * hidden, grad + (n * queries + from) * keys,
                           dq + (n * queries + from) * hidden, dk + n * hidden * keys,
                           dw + n * hidden, to - from, keys, hidden);
}

#endif
