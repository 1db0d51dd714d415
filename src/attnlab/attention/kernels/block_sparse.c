/* Softmax attention over listed pairs of a query block and a key block, forward and backward.

   Blocks have `size` positions, the last ones fewer. For each query block a list names the key
   blocks to read; a tile of bytes says which pairs of a block are allowed, where not all are.
   Inputs are contiguous: problems x positions x width, widths and `size` multiples of LANES.
   Query problems that share keys follow one another, `group` of them to a key problem.

   Logits are in units of log 2, so that every exponential is a power of two. The forward pass has
   keys as rows of its logits, so that maxima and sums over keys go from row to row. */

#ifndef REAL

#include <stddef.h>

#define MOST 128 /* positions of a block */

typedef struct {
    long size, queries, keys, width, value_width;
    long problems, group, maps;   /* query problems; of a key problem; of an example */
    long by_example, by_map;      /* steps in `starts` from one example, or map, to the next */
    long pieces;                  /* the key blocks of a problem are divided into so many */
    double scale;
    const int *starts;            /* where the list of each block begins, and the last one ends */
    const int *listed;            /* the blocks of the other side */
    const int *tile;              /* the tile of each listed pair, -1 where all is allowed */
    const unsigned char *tiles;   /* tiles x keys of a block x queries of a block */
    const unsigned char *padding; /* examples x keys: 0 for padding; NULL where there is none */
    const unsigned char *real;    /* examples x key blocks: 0 none, 1 some, 2 all keys are real */
    long *counter;                /* the next item that no thread has begun */
} Lists;

static inline long blocks(long length, long size) { return (length + size - 1) / size; }
static inline long least(long a, long b) { return a < b ? a : b; }

/* Where the list of a block begins; it ends where the next one begins. */
static inline const int *list(const Lists *l, long problem, long block)
{
    return l->starts + problem / l->maps * l->by_example + problem % l->maps * l->by_map + block;
}

/* Which keys of a block are real: NULL where all are. Sets `none` where none is. */
static inline const unsigned char *real_keys(const Lists *l, long problem, long block, int *none)
{
    *none = 0;
    if (!l->padding) return NULL;
    const long example = problem / l->maps;
    const int state = l->real[example * blocks(l->keys, l->size) + block];
    *none = state == 0;
    return state == 1 ? l->padding + example * l->keys + block * l->size : NULL;
}

#define SOURCE "block_sparse.c"
#include "vectors.h"
#undef SOURCE

#else

/* One block of queries. With `level` and `part`, key blocks x size each, for the masses. */
static void NAME(forward_block)(const Lists *l, long problem, long block, const REAL *q,
                                const REAL *k, const REAL *v, REAL *out, REAL *top, REAL *sum,
                                REAL *mass, REAL *room)
{
    const long size = l->size, width = l->width, vwidth = l->value_width;
    const long from = block * size, rows = least(size, l->queries - from);
    REAL *query = room, *logits = query + width * size, *shrink = logits + size * size;
    REAL *most = shrink + MOST, *total = most + MOST, *level = total + MOST;
    REAL *part = level + blocks(l->keys, size) * size;
    q += (problem * l->queries + from) * width;
    k += problem / l->group * l->keys * width;
    v += problem / l->group * l->keys * vwidth;
    out += (problem * l->queries + from) * vwidth;
    NAME(transpose)(q, width, rows, width, size, (REAL)(l->scale * LOG2E), query);
    memset(out, 0, sizeof(REAL) * rows * vwidth);
    for (long i = 0; i < size; i++) most[i] = LOWEST, total[i] = 0;
    const int *ends = list(l, problem, block);
    for (long n = ends[0]; n < ends[1]; n++) {
        int none;
        const long other = l->listed[n], count = least(size, l->keys - other * size);
        const unsigned char *real = real_keys(l, problem, other, &none);
        const unsigned char *tile = l->tile[n] < 0 ? NULL : l->tiles + l->tile[n] * size * size;
        REAL *now = level + (n - ends[0]) * size, *held = part + (n - ends[0]) * size;
        if (none) {
            for (long i = 0; i < size; i++) now[i] = LOWEST, held[i] = 0;
            continue;
        }
        NAME(gemm)(count, size, width, k + other * size * width, width, 1, query, size,
                   logits, size, NULL);
        for (long j = 0; real && j < count; j++)
            for (long i = 0; !real[j] && i < size; i++) logits[j * size + i] = FORBIDDEN;
        for (long i = 0; i < size; i += WIDE) {
            const VEC before = NAME(load)(most + i);
            VEC high = before, added = {0};
            if (tile)
                for (long j = 0; j < count; j++) {
                    REAL *at = logits + j * size + i;
                    const VEC forbidden = (VEC){0} + FORBIDDEN;
                    NAME(store)(at, NAME(where)(tile + j * size + i, NAME(load)(at), forbidden));
                }
            for (long j = 0; j < count; j++) high = NAME(max)(high, NAME(load)(logits + j * size + i));
            for (long j = 0; j < count; j++) {
                const VEC p = NAME(power)(NAME(load)(logits + j * size + i) - high);
                NAME(store)(logits + j * size + i, p);
                added += p;
            }
            const VEC less = NAME(power)(before - high);
            NAME(store)(shrink + i, less);
            NAME(store)(most + i, high);
            NAME(store)(now + i, high);
            NAME(store)(held + i, added);
            NAME(store)(total + i, NAME(load)(total + i) * less + added);
        }
        NAME(gemm)(rows, vwidth, count, logits, 1, size, v + other * size * vwidth, vwidth,
                   out, vwidth, shrink);
    }
    for (long i = 0; i < rows; i++) {
        const REAL share = total[i] > 0 ? 1 / total[i] : 0;
        for (long d = 0; d < vwidth; d++) out[i * vwidth + d] *= share;
        shrink[i] = share / rows;
        top[problem * l->queries + from + i] = most[i];
        sum[problem * l->queries + from + i] = total[i];
    }
    for (long i = rows; i < size; i++) shrink[i] = 0;
    mass += (problem * blocks(l->queries, size) + block) * blocks(l->keys, size);
    for (long n = ends[0]; n < ends[1]; n++) {
        const REAL *now = level + (n - ends[0]) * size, *held = part + (n - ends[0]) * size;
        VEC all = {0};
        for (long i = 0; i < size; i += WIDE)
            all += NAME(power)(NAME(load)(now + i) - NAME(load)(most + i)) * NAME(load)(held + i)
                   * NAME(load)(shrink + i);
        REAL one = 0;
        for (long i = 0; i < WIDE; i++) one += all[i];
        mass[l->listed[n]] = one;
    }
}

/* out: problems x queries x value width; top and sum: problems x queries, the largest logit and
   the sum of powers below it; mass: problems x query blocks x key blocks, zeros to begin with,
   the mean share of each block in the weights of a query. Returns 1 where memory is lacking. */
int NAME(attend)(const Lists *l, const REAL *q, const REAL *k, const REAL *v, REAL *out,
                 REAL *top, REAL *sum, REAL *mass)
{
    const long count = blocks(l->queries, l->size), size = l->size;
    const long each = l->width + size + 2 * blocks(l->keys, size);
    REAL *room = aligned_alloc(64, sizeof(REAL) * (each * size + 3 * MOST));
    if (!room) return 1;
    for (long n; (n = __atomic_fetch_add(l->counter, 1, __ATOMIC_RELAXED)) < l->problems * count;)
        NAME(forward_block)(l, n % l->problems, count - 1 - n / l->problems, q, k, v, out, top,
                            sum, mass, room);
    free(room);
    return 0;
}

/* One block of keys, with the lists of its query blocks. */
static void NAME(backward_block)(const Lists *l, long problem, long block, const REAL *q,
                                 const REAL *k, const REAL *v, const REAL *grad, const REAL *lse,
                                 const REAL *delta, REAL *dq, REAL *dk, REAL *dv, REAL *room)
{
    const long size = l->size, width = l->width, vwidth = l->value_width;
    const long from = block * size, count = least(size, l->keys - from);
    REAL *key = room, *value = key + width * size, *weights = value + vwidth * size;
    REAL *slope = weights + size * size, *once = slope + size * size;
    unsigned char *open = (unsigned char *)(once + MOST);
    k += (problem / l->group * l->keys + from) * width, dk += (problem / l->group * l->keys + from) * width;
    v += (problem / l->group * l->keys + from) * vwidth, dv += (problem / l->group * l->keys + from) * vwidth;
    for (long i = 0; i < MOST; i++) once[i] = 1;
    NAME(transpose)(k, width, count, width, size, (REAL)(l->scale * LOG2E), key);
    NAME(transpose)(v, vwidth, count, vwidth, size, 1, value);
    for (long each = problem; each < problem + l->group; each++) {
        int none;
        const unsigned char *real = real_keys(l, each, block, &none);
        const int *ends = list(l, each, block);
        for (long n = ends[0]; !none && n < ends[1]; n++) {
            const long other = l->listed[n], start = each * l->queries + other * size;
            const long rows = least(size, l->queries - other * size);
            const unsigned char *tile = l->tile[n] < 0 ? NULL : l->tiles + l->tile[n] * size * size;
            const REAL *qi = q + start * width, *gi = grad + start * vwidth;
            NAME(gemm)(rows, size, width, qi, width, 1, key, size, weights, size, NULL);
            NAME(gemm)(rows, size, vwidth, gi, vwidth, 1, value, size, slope, size, NULL);
            for (long j = 0; (tile || real) && j < size; j++)
                for (long i = 0; i < rows; i++)
                    open[i * size + j] = (!tile || tile[j * size + i])
                                         && (!real || (j < count && real[j]));
            for (long i = 0; i < rows; i++)
                for (long j = 0; j < size; j += WIDE) {
                    REAL *w = weights + i * size + j, *s = slope + i * size + j;
                    VEC p = NAME(power)(NAME(load)(w) - lse[start + i]);
                    if (tile || real) p = NAME(where)(open + i * size + j, p, (VEC){0});
                    NAME(store)(w, p);
                    NAME(store)(s, p * (NAME(load)(s) - delta[start + i]) * (REAL)l->scale);
                }
            NAME(gemm)(count, vwidth, rows, weights, 1, size, gi, vwidth, dv, vwidth, once);
            NAME(gemm)(count, width, rows, slope, 1, size, qi, width, dk, width, once);
            NAME(gemm)(rows, width, count, slope, size, 1, k, width, dq + start * width, width, once);
        }
    }
}

/* Adds to dk and dv, and to dq, of which each piece of the key blocks has its own: pieces x
   problems x queries x width. lse (in units of log 2) and delta: problems x queries. */
int NAME(attend_back)(const Lists *l, const REAL *q, const REAL *k, const REAL *v,
                      const REAL *grad, const REAL *lse, const REAL *delta, REAL *dq, REAL *dk,
                      REAL *dv)
{
    const long count = blocks(l->keys, l->size), size = l->size, shared = l->problems / l->group;
    const long each = l->width + l->value_width + 3 * size;
    REAL *room = aligned_alloc(64, sizeof(REAL) * (each * size + MOST));
    if (!room) return 1;
    for (long n; (n = __atomic_fetch_add(l->counter, 1, __ATOMIC_RELAXED)) < shared * l->pieces;) {
        const long piece = n / shared, first = n % shared * l->group;
        REAL *own = dq + piece * l->problems * l->queries * l->width;
        for (long block = piece; block < count; block += l->pieces)
            NAME(backward_block)(l, first, block, q, k, v, grad, lse, delta, own, dk, dv, room);
    }
    free(room);
    return 0;
}

#endif
