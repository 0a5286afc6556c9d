/* Vectors of the machine, and the one matrix product that everything else is made of. */
#include <stdint.h>
#include <string.h>

/* Columns of a tile: as many vectors as leave registers for rows. Bytes of a vector by instruction
   set, which the compiler's options choose; the code is the same for all. */
#if defined(__AVX512F__)
enum { LANES = 16, MOST = 4 };
#elif defined(__AVX__)
enum { LANES = 8, MOST = 2 };
#else /* NEON, SSE */
enum { LANES = 4, MOST = 4 };
#endif
enum { PANEL = LANES * MOST };

typedef float vector __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t bits __attribute__((vector_size(4 * LANES), aligned(4)));

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__ /* it passes over the other one, keeps sums in memory, and takes thrice as long */
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

INLINE vector load(const float *p) { return *(const vector *)p; }
INLINE void store(float *p, vector v) { *(vector *)p = v; }
INLINE long least(long a, long b) { return a < b ? a : b; }
INLINE long most(long a, long b) { return a > b ? a : b; }
INLINE long whole(long n) { return (n + LANES - 1) / LANES * LANES; } /* n, in whole vectors */

enum { SIDE = 16, DEEP = 32, TILE = SIDE * DEEP }; /* of tiles: rows, numbers in a row, numbers */
INLINE long side(long n) { return (n + SIDE - 1) / SIDE * SIDE; }
INLINE long deep(long n) { return (n + DEEP - 1) / DEEP * DEEP; }

/* What is done to a tile before it is written. NaN is neither below nor above 0, and passes. */
typedef enum { AS_IS, RELU, WHERE_ACTIVE } Finish;

/* C[m][n] = start[m][n] + sum over k of A[at_row[m] + at_k[k]] * B[k][n], for a tile.

   A is read through tables of offsets: a convolution's taps, planes, or panels are rows and columns
   of a matrix that is never made. `start` has a row for each m at `at_start[m]`; null is 0, and
   `again` goes on from C. WHERE_ACTIVE is the gradient of a ReLU whose results are `active`. */
INLINE void tile(const int rows, const int columns, long K, const float *A, const int *at_row,
                 const int *at_k, const float *B, long step_b, float *C, long step_c, int again,
                 const float *start, const int *at_start, Finish finish, const float *active) {
  vector sum[12][MOST];
  const float *a[12];
#define EACH UNROLL for (int m = 0; m < rows; m++) UNROLL for (int n = 0; n < columns; n++)
  UNROLL for (int m = 0; m < rows; m++) a[m] = A + at_row[m];
  if (again) {
    EACH sum[m][n] = load(C + m * step_c + LANES * n);
  } else if (start) {
    EACH sum[m][n] = load(start + at_start[m] + LANES * n);
  } else {
    EACH sum[m][n] = (vector){0};
  }
  if (finish == WHERE_ACTIVE) {
    EACH __builtin_prefetch(active + m * step_c + LANES * n);
  }
  for (long k = 0; k < K; k++, B += step_b) {
    long at = at_k[k];
    vector b[MOST];
    UNROLL for (int n = 0; n < columns; n++) b[n] = load(B + LANES * n);
    UNROLL for (int m = 0; m < rows; m++) {
      vector x = a[m][at] - (vector){0};
      UNROLL for (int n = 0; n < columns; n++) sum[m][n] += x * b[n];
    }
  }
  if (finish == RELU) {
    EACH sum[m][n] = (vector)((bits)sum[m][n] & ~(sum[m][n] < 0));
  } else if (finish == WHERE_ACTIVE) {
    EACH sum[m][n] =
        (vector)((bits)sum[m][n] & ~(load(active + m * step_c + LANES * n) <= 0));
  }
  EACH store(C + m * step_c + LANES * n, sum[m][n]);
#undef EACH
}

/* All rows of one panel of columns: tiles as high as there are registers, then what is left. */
#define ROWS(columns, height)                                                                      \
  static void rows_##columns(long M, long K, const float *A, const int *at_row, const int *at_k,   \
                             const float *B, long step_b, float *C, long step_c, int again,        \
                             const float *start, const int *at_start, Finish finish,               \
                             const float *active) {                                                \
    long m = 0;                                                                                    \
    _Pragma("GCC unroll 1") for (; m + height <= M; m += height)                                   \
        tile(height, columns, K, A, at_row + m, at_k, B, step_b, C + m * step_c, step_c, again,    \
             start, at_start + m, finish, active + m * step_c);                                    \
    _Pragma("GCC unroll 1") for (; m + 3 <= M; m += 3)                                             \
        tile(3, columns, K, A, at_row + m, at_k, B, step_b, C + m * step_c, step_c, again, start,  \
             at_start + m, finish, active + m * step_c);                                           \
    _Pragma("GCC unroll 1") for (; m < M; m++)                                                     \
        tile(1, columns, K, A, at_row + m, at_k, B, step_b, C + m * step_c, step_c, again, start,  \
             at_start + m, finish, active + m * step_c);                                           \
  }
#if defined(__AVX512F__)
ROWS(1, 12) ROWS(2, 12) ROWS(3, 8) ROWS(4, 6)
#elif defined(__AVX__)
ROWS(1, 12) ROWS(2, 6)
#else
ROWS(1, 12) ROWS(2, 12) ROWS(3, 8) ROWS(4, 6)
#endif

enum { DEPTH = 128 }; /* terms at a time, so that a panel of B stays in the nearest cache */

/* The same for a whole matrix. B and C stand in panels of up to PANEL columns, N a multiple of
   LANES: panel j of B at B + j * panel_b, with rows `step_b` apart (0: as wide as the panel); of C
   and `active` at j * panel_c; of `start` at j * panel_start. */
typedef struct {
  long M, N, K;
  const float *A;
  const int *at_row, *at_k;
  const float *B;
  long panel_b, step_b;
  float *C;
  long panel_c, step_c;
  int again;
  const float *start;
  const int *at_start;
  long panel_start;
  Finish finish;
  const float *active;
} Product;

static void multiply(Product p) {
  long pieces = (p.K + DEPTH - 1) / DEPTH, depth = pieces ? (p.K + pieces - 1) / pieces : 1;
  for (long n = 0, j = 0; n < p.N; n += PANEL, j++) {
    long columns = least(PANEL, p.N - n), step_b = p.step_b ? p.step_b : columns;
    const float *B = p.B + j * p.panel_b, *start = p.start ? p.start + j * p.panel_start : 0;
    float *C = p.C + j * p.panel_c;
    const float *active = p.active ? p.active + j * p.panel_c : C;
    for (long k = 0; k == 0 || k < p.K; k += depth) {
      long K = least(depth, p.K - k);
      Finish finish = k + K >= p.K ? p.finish : AS_IS;
      int again = p.again || k;
      const int *at_start = start ? p.at_start : p.at_row;
#define CASE(c)                                                                                    \
  case c:                                                                                          \
    rows_##c(p.M, K, p.A, p.at_row, p.at_k + k, B + k * step_b, step_b, C, p.step_c, again, start, \
             at_start, finish, active);                                                            \
    break;
      switch (columns / LANES) {
        CASE(1) CASE(2)
#if !defined(__AVX__) || defined(__AVX512F__)
        CASE(3) CASE(4)
#endif
      }
#undef CASE
    }
  }
}

/* The sum of n floats: lanes side by side, then one after another. */
static inline float sum(const float *p, long n) {
  vector lanes = {0};
  float total = 0;
  long i = 0;
  for (; i + LANES <= n; i += LANES) lanes += load(p + i);
  for (int lane = 0; lane < LANES; lane++) total += lanes[lane];
  for (; i < n; i++) total += p[i];
  return total;
}
