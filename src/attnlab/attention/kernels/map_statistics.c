/* Statistics of softmax maps: one product for the logits, and one reading of each row.

   Queries are taken in blocks, whose logits have keys as rows and are in units of log 2, as in
   block_sparse.c. Of a causal map only keys up to the last query of a block are computed. */

#ifndef REAL

typedef struct {
    long batch, heads, group, queries, keys, width; /* `group` heads share keys */
    long q_example, q_head, q_row;                  /* steps in elements */
    long k_example, k_head, k_row;
    long open_example, open_query, open_key;
    double scale;
    long start;                /* the key that query 0 stands at */
    long size;                 /* queries of a block, a multiple of LANES */
    const long *positions;     /* where queries stand among all */
    const unsigned char *open; /* 0 for pairs that are not allowed; NULL where all are */
    long causal;               /* whether keys after a query's position are forbidden */
    long *counter;             /* the next map that no thread has begun */
} Maps;

#define SOURCE "map_statistics.c"
#include "vectors.h"
#undef SOURCE

#else

/* A block of queries of one map: `total`, `surprise` and `distance` of its rows, and what it adds
   to `received`.  */
static void NAME(statistics_block)(const Maps *m, const REAL *q, const REAL *k,
                                   const unsigned char *open, long from, const REAL *weight,
                                   REAL *total, REAL *surprise, REAL *distance, REAL *received,
                                   REAL *room)
{
    const long size = m->size, left = m->queries - from, rows = left < size ? left : size;
    REAL *query = room, *place = query + m->width * size, *share = place + size;
    REAL *logits = share + size;
    long first = m->positions[from], last = first;
    for (long i = 0; i < size; i++) {
        const long position = m->positions[from + (i < rows ? i : 0)];
        first = position < first ? position : first, last = position > last ? position : last;
        place[i] = (REAL)position;
    }
    const long keys = m->causal && last < m->keys ? last + 1 : m->keys;
    NAME(transpose)(q + from * m->q_row, m->q_row, rows, m->width, size,
                    (REAL)(m->scale * LOG2E), query);
    NAME(gemm)(keys, size, m->width, k, m->k_row, 1, query, size, logits, size, NULL);
    for (long j = 0; open && j < keys; j++)
        for (long i = 0; i < rows; i++)
            if (!open[(from + i) * m->open_query + j * m->open_key]) logits[j * size + i] = FORBIDDEN;
    for (long i = 0; i < size; i += WIDE) {
        const VEC at = NAME(load)(place + i), own = at + (REAL)m->start;
        VEC high = (VEC){0} + LOWEST, sum = {0}, below = {0}, apart = {0};
        for (long j = m->causal ? first + 1 : keys; j < keys; j++) {
            REAL *logit = logits + j * size + i;
            const WHOLES later = at < (VEC){0} + (REAL)j;
            const VEC forbidden = (VEC){0} + FORBIDDEN;
            NAME(store)(logit, (VEC)(((WHOLES)forbidden & later) | ((WHOLES)NAME(load)(logit) & ~later)));
        }
        for (long j = 0; j < keys; j++) high = NAME(max)(high, NAME(load)(logits + j * size + i));
        for (long j = 0; j < keys; j++) {
            REAL *logit = logits + j * size + i;
            const VEC less = NAME(load)(logit) - high, p = NAME(power)(less);
            const VEC right = own - (REAL)j;
            NAME(store)(logit, p);
            sum += p;
            below += p * less;
            apart += p * NAME(max)(right, -right);
        }
        for (long lane = 0; lane < WIDE; lane++) {
            const long row = i + lane;
            share[row] = row < rows && sum[lane] > 0 ? 1 / sum[lane] : 0;
            if (row >= rows) continue;
            total[from + row] = sum[lane];
            surprise[from + row] = below[lane] * share[row];
            distance[from + row] = apart[lane] * share[row];
            if (weight) share[row] *= weight[from + row];
        }
    }
    for (long j = 0; j < keys; j++) {
        VEC mass = {0};
        for (long i = 0; i < size; i += WIDE)
            mass += NAME(load)(logits + j * size + i) * NAME(load)(share + i);
        REAL all = 0;
        for (long lane = 0; lane < WIDE; lane++) all += mass[lane];
        received[j] += all;
    }
}

/* total, surprise, distance: batch x heads x queries: the sum of powers below the largest logit,
   and weighted means of the logits below it (units of log 2) and of |query - key|. received: batch
   x heads x keys, zeros to begin with. weight: batch x queries, how often a row counts in it; NULL:
   once. Returns 1 where memory is lacking. */
int NAME(map_statistics)(const Maps *m, const REAL *q, const REAL *k, const REAL *weight,
                         REAL *total, REAL *surprise, REAL *distance, REAL *received)
{
    REAL *room = aligned_alloc(64, sizeof(REAL) * m->size * (m->width + m->keys + 2));
    if (!room) return 1;
    for (long n; (n = __atomic_fetch_add(m->counter, 1, __ATOMIC_RELAXED)) < m->batch * m->heads;) {
        const long example = n / m->heads, head = n % m->heads;
        for (long from = 0; from < m->queries; from += m->size)
            NAME(statistics_block)(
                m, q + example * m->q_example + head * m->q_head,
                k + example * m->k_example + head / m->group * m->k_head,
                m->open ? m->open + example * m->open_example : NULL, from,
                weight ? weight + example * m->queries : NULL, total + n * m->queries,
                surprise + n * m->queries, distance + n * m->queries, received + n * m->keys, room);
    }
    free(room);
    return 0;
}

#endif
