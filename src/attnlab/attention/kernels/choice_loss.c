/* Cross-entropy among many choices: each row of scores is read from memory once on each way. */

#ifndef REAL

#define SOURCE "choice_loss.c"
#include "vectors.h"
#undef SOURCE

#else

/* The last numbers of a row as a vector, filled up. */
INLINE VEC NAME(tail)(const REAL *from, long count, REAL filling)
{
    VEC v = (VEC){0} + filling;
    for (long lane = 0; lane < count; lane++) v[lane] = from[lane];
    return v;
}

/* For each row: the largest score, the sum of exponentials below it, and the sum of scores, which
   is no number where one of them is none. scores: rows x choices. */
void NAME(choice_sums)(const REAL *scores, long choices, long first, long last, REAL *top,
                       REAL *powers, REAL *sum)
{
    const long full = choices / WIDE * WIDE, left = choices - full;
    for (long row = first; row < last; row++) {
        const REAL *x = scores + row * choices;
        const VEC rest = NAME(tail)(x + full, left, FORBIDDEN);
        VEC high = rest, all = NAME(tail)(x + full, left, 0), below = {0};
        for (long c = 0; c < full; c += WIDE) {
            const VEC v = NAME(load)(x + c);
            high = NAME(max)(high, v);
            all += v;
        }
        REAL most = high[0], total = 0, under = 0;
        for (long lane = 1; lane < WIDE; lane++) most = high[lane] > most ? high[lane] : most;
        for (long c = 0; c < full; c += WIDE)
            below += NAME(power)((NAME(load)(x + c) - most) * (REAL)LOG2E);
        below += NAME(power)((rest - most) * (REAL)LOG2E);
        for (long lane = 0; lane < WIDE; lane++) total += all[lane], under += below[lane];
        top[row] = most, powers[row] = under, sum[row] = total;
    }
}

/* gradient: rows x choices: weight of the row times the probability of the choice less `spread`.
   total: the logarithm of each row's sum of exponentials. */
void NAME(choice_slopes)(const REAL *scores, long choices, long first, long last,
                         const REAL *total, const REAL *weight, REAL spread, REAL *gradient)
{
    const long full = choices / WIDE * WIDE, left = choices - full;
    for (long row = first; row < last; row++) {
        const REAL *x = scores + row * choices, all = total[row], factor = weight[row];
        REAL *to = gradient + row * choices;
        for (long c = 0; c < full; c += WIDE) {
            const VEC p = NAME(power)((NAME(load)(x + c) - all) * (REAL)LOG2E);
            NAME(store)(to + c, (p - spread) * factor);
        }
        const VEC rest = NAME(power)((NAME(tail)(x + full, left, FORBIDDEN) - all) * (REAL)LOG2E);
        for (long lane = 0; lane < left; lane++) to[full + lane] = (rest[lane] - spread) * factor;
    }
}

#endif
