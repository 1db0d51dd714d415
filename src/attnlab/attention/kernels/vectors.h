/* Vectors of numbers, powers of two and products, for the kernels of softmax attention.

   A source defines SOURCE as its own name and includes this file, which includes it again for
   float and for double: REAL is the type, NAME(x) the name of a function for it.

   All products are one routine (`gemm`), whose inner loop keeps ROWS x LANES sums in registers. */

#ifndef REAL

#include <stdlib.h>
#include <string.h>

#define LANES 16
#define LOG2E 1.4426950408889634074
#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#define BYTES 64
#define REGISTERS 32
#elif defined(__AVX__)
#define BYTES 32
#define REGISTERS 16
#elif defined(__aarch64__)
#define BYTES 16
#define REGISTERS 32
#else
#define BYTES 16
#define REGISTERS 16
#endif

#define REAL float
#define WHOLE int
#define NAME(x) x##_float
#define EXPONENT 23
#define BIAS 127
#define TERMS 7
#include __FILE__
#define REAL double
#define WHOLE long
#define NAME(x) x##_double
#define EXPONENT 52
#define BIAS 1023
#define TERMS 13
#include __FILE__

#else

#define VEC NAME(vec)
#define WHOLES NAME(wholes)
#define FLAGS NAME(flags)
#define WIDE ((long)(BYTES / sizeof(REAL)))
#define VECTORS ((int)(LANES * sizeof(REAL) / BYTES)) /* of LANES numbers */
#define ROWS (VECTORS == 1 ? 12 : VECTORS * 4 > REGISTERS ? 1 : (REGISTERS - 4) / VECTORS)
#define FORBIDDEN ((REAL)-1e30) /* the logit of a pair that is not allowed */
#define LOWEST ((REAL)-1e29)    /* the maximum of a row without an allowed key */

typedef REAL VEC __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef WHOLE WHOLES __attribute__((vector_size(BYTES)));
typedef unsigned char FLAGS
    __attribute__((vector_size(BYTES / sizeof(REAL)), aligned(1), may_alias));

INLINE VEC NAME(load)(const REAL *from) { return *(const VEC *)from; }
INLINE void NAME(store)(REAL *to, VEC v) { *(VEC *)to = v; }

INLINE VEC NAME(max)(VEC a, VEC b)
{
    const WHOLES more = a > b;
    return (VEC)(((WHOLES)a & more) | ((WHOLES)b & ~more));
}

/* a where flags are set, b elsewhere. */
INLINE VEC NAME(where)(const unsigned char *flags, VEC a, VEC b)
{
    const WHOLES set = __builtin_convertvector(*(const FLAGS *)flags, WHOLES) != 0;
    return (VEC)(((WHOLES)a & set) | ((WHOLES)b & ~set));
}

/* 2^x for x up to 0, by its series about the nearest whole number; 0 below the least normal. */
INLINE VEC NAME(power)(VEC x)
{
    static const REAL term[] = {/* log(2)^n / n! */
        1.0, 0.6931471805599453094, 0.24022650695910071233, 0.055504108664821579953,
        0.0096181291076284771619, 0.0013333558146428443423, 0.00015403530393381609954,
        0.000015252733804059840280, 1.3215486790144309488e-6, 1.0178086009239699728e-7,
        7.0549116208011233299e-9, 4.4455382718708114976e-10, 2.5678435993488205142e-11,
        1.3691488853904128881e-12};
    const WHOLES normal = x > (REAL)(1 - BIAS);
    x = (VEC)((WHOLES)x & normal);
    const WHOLES whole = __builtin_convertvector(x - (REAL)0.5, WHOLES);
    const VEC rest = x - __builtin_convertvector(whole, VEC);
    VEC sum = rest * term[TERMS] + term[TERMS - 1];
#pragma GCC unroll 16
    for (int n = TERMS - 2; n >= 0; n--) sum = sum * rest + term[n];
    return (VEC)(((WHOLES)sum + (whole << EXPONENT)) & normal);
}

/* c (rows x LANES) = a b, or factor c + a b with a factor for each row. a: rows x depth, its
   elements `down` apart from row to row and `along` apart in a row; b: depth x LANES. */
INLINE void NAME(panel)(long depth, const REAL *a, long down, long along, const REAL *b, long ldb,
                        REAL *c, long ldc, const REAL *factor, const int rows)
{
    VEC sum[ROWS][VECTORS];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) sum[r][v] = (VEC){0};
    for (long k = 0; k < depth; k++) {
        VEC row[VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) row[v] = NAME(load)(b + k * ldb + v * WIDE);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++) sum[r][v] += a[r * down + k * along] * row[v];
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
            REAL *to = c + r * ldc + v * WIDE;
            if (factor) sum[r][v] += NAME(load)(to) * factor[r];
            NAME(store)(to, sum[r][v]);
        }
}

_Static_assert(ROWS <= 14, "`gemm` has a case for each number of rows below ROWS");
#define LAST(n) \
    case n: \
        if (n < ROWS) NAME(panel)(depth, ai, down, along, b + j, ldb, ci, ldc, fi, n); \
        break;

/* As `panel`, for c of any number of rows and n columns, a multiple of LANES. */
static void NAME(gemm)(long m, long n, long depth, const REAL *a, long down, long along,
                       const REAL *b, long ldb, REAL *c, long ldc, const REAL *factor)
{
    for (long j = 0; j < n; j += LANES) {
        const REAL *ai = a, *fi = factor;
        REAL *ci = c + j;
        long i = m;
        for (; i >= ROWS; i -= ROWS, ai += ROWS * down, ci += ROWS * ldc, fi += fi ? ROWS : 0)
            NAME(panel)(depth, ai, down, along, b + j, ldb, ci, ldc, fi, ROWS);
        switch (i) {
            LAST(1) LAST(2) LAST(3) LAST(4) LAST(5) LAST(6)
            LAST(7) LAST(8) LAST(9) LAST(10) LAST(11) LAST(12) LAST(13)
        }
    }
}
#undef LAST

/* Columns of rows, which are `down` apart, times a factor, with zeros up to `size` rows:
   width x size. */
static void NAME(transpose)(const REAL *from, long down, long rows, long width, long size,
                            REAL factor, REAL *to)
{
    memset(to, 0, sizeof(REAL) * width * size);
    for (long r = 0; r < rows; r++)
        for (long d = 0; d < width; d++) to[d * size + r] = factor * from[r * down + d];
}

#include SOURCE

#undef VEC
#undef WHOLES
#undef FLAGS
#undef WIDE
#undef VECTORS
#undef ROWS
#undef FORBIDDEN
#undef LOWEST
#undef REAL
#undef WHOLE
#undef NAME
#undef EXPONENT
#undef BIAS
#undef TERMS

#endif
