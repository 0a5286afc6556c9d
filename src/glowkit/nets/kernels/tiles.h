/* The product of matrices in bfloat16 by the processor's tiles (Intel's AMX), summed in float32.

   Tiles are registers of 16 rows of 64 bytes, which no vector type describes: the intrinsics stand
   here alone. Who tests may define USE_TILES and what it stands for beforehand, in plain C. */
#if !defined(USE_TILES) && defined(__AVX512F__) && defined(__x86_64__) && defined(__linux__)
#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11
#define USE_TILES __attribute__((target("amx-tile,amx-bf16,avx512bf16")))
#endif
#endif

typedef uint16_t bfloat; /* its bits: the upper half of a float's */

#if defined(USE_TILES) && !defined(TILE_LOAD)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
/* The macros of some compilers do not say that they read and write memory. */
#define FENCE __asm__ volatile("" ::: "memory")
#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, from, bytes) _tile_loadd(tile, from, bytes)
#define TILE_ADD(tile, a, b) _tile_dpbf16ps(tile, a, b)
#define TILE_STORE(tile, to, bytes) _tile_stored(tile, to, bytes)
#define ROUND_TWO(to, one, two) \
  _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh((__m512)(two), (__m512)(one)))

typedef struct {
  uint8_t palette, start, none[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} TileSizes;

/* Before and after products of a thread: what tiles hold is part of what it is switched with. */
USE_TILES static void tiles_on(void) {
  TileSizes sizes = {.palette = 1};
  for (int i = 0; i < 8; i++) sizes.bytes[i] = 64, sizes.rows[i] = SIDE;
  FENCE;
  _tile_loadconfig(&sizes);
}

USE_TILES static void tiles_off(void) { _tile_release(); }

/* Whether there are any, and the system lets this process use them: it wants to be asked. */
static int tiles_allowed(void) {
  enum { LEAF = 7, BFLOAT = 1 << 22, TILES = 1 << 24, ROUNDS = 1 << 5 };
  enum { ASK = 0x1023, TILE_DATA = 18 };
  unsigned a, b, c, d;
  if (!__get_cpuid_count(LEAF, 0, &a, &b, &c, &d) || ~d & (BFLOAT | TILES)) return 0;
  if (!__get_cpuid_count(LEAF, 1, &a, &b, &c, &d) || ~a & ROUNDS) return 0; /* AVX512-BF16 */
  return !syscall(SYS_arch_prctl, ASK, TILE_DATA);
}
#elif !defined(USE_TILES) /* never called: nothing is `low` */
static void tiles_on(void) {}
static void tiles_off(void) {}
static int tiles_allowed(void) { return 0; }
#endif

#ifdef USE_TILES

/* B[k][n] of a product: tiles of 32 terms and 16 columns, all terms of the first columns first. In
   a tile, two terms of a column stand side by side: the instruction adds both products.

   C[m][n] = sum over k of A[m][k] * B[k][n], M and N multiples of 16 and K of 32. AS_IS, the sums
   are written to panels of C, as `Product` has them, or, `again`, added to those; else N is a
   multiple of 32, and what is finished is rounded into rows of `rounded`. */
typedef struct {
  long M, N, K;
  const bfloat *A;
  long step_a;
  const bfloat *B;
  float *C;
  long panel, panel_c, step_c;
  int again;
  Finish finish;
  const float *start;
  const int *at_start;
  const bfloat *active; /* what WHERE_ACTIVE compares with 0, as `rounded` */
  bfloat *rounded;
  long step;
} TileProduct;

/* To the nearest, ties to even; NaN stays one. */
INLINE bits rounding(vector v) {
  bits b = (bits)v, number = v == v, near = (b + 0x7fff + ((b >> 16) & 1)) >> 16;
  return (near & number) | (((b >> 16) | 64) & ~number);
}

typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

INLINE void store_rounded(bfloat *to, vector v) {
  *(halves *)to = __builtin_convertvector(rounding(v), halves);
}

/* Up to two by two tiles of C: four sums, which two tiles of A and of B are enough for. */
INLINE USE_TILES void tiles(const int rows, const int columns, const TileProduct *p, long m,
                            long n) {
  const bfloat *A = p->A + m * p->step_a, *B = p->B + n * p->K;
  long next_a = SIDE * p->step_a, next_b = SIDE * p->K, bytes = 2 * p->step_a;
  float sums[2 * SIDE][2 * SIDE] __attribute__((aligned(64)));
  float *C = &sums[0][0], *beside = C + SIDE;
  long step_c = 2 * SIDE;
  if (p->finish == AS_IS) {
    C = p->C + m * p->step_c + n / p->panel * p->panel_c + n % p->panel;
    beside = p->C + m * p->step_c + (n + SIDE) / p->panel * p->panel_c + (n + SIDE) % p->panel;
    step_c = p->step_c;
  }
  if (p->again) {
    TILE_LOAD(0, C, 4 * step_c);
    if (columns == 2) TILE_LOAD(1, beside, 4 * step_c);
    if (rows == 2) TILE_LOAD(2, C + SIDE * step_c, 4 * step_c);
    if (rows == 2 && columns == 2) TILE_LOAD(3, beside + SIDE * step_c, 4 * step_c);
  } else {
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
  }
  for (long i = 0; i < 2 * SIDE; i++) { /* comes from far while there is much to multiply */
    if (p->again) {
      __builtin_prefetch(C + (2 * SIDE + i) * step_c, 1);
      __builtin_prefetch(beside + (2 * SIDE + i) * step_c, 1);
    }
    if (p->finish == WHERE_ACTIVE) __builtin_prefetch(p->active + (m + i) * p->step + n);
    if (p->finish != AS_IS) __builtin_prefetch(p->rounded + (m + i) * p->step + n, 1);
  }
  for (long k = 0; k < p->K; k += DEEP) {
    TILE_LOAD(4, A + k, bytes);
    TILE_LOAD(6, B + k * SIDE, 64);
    TILE_ADD(0, 4, 6);
    if (columns == 2) {
      TILE_LOAD(7, B + next_b + k * SIDE, 64);
      TILE_ADD(1, 4, 7);
    }
    if (rows == 2) {
      TILE_LOAD(5, A + next_a + k, bytes);
      TILE_ADD(2, 5, 6);
      if (columns == 2) TILE_ADD(3, 5, 7);
    }
  }
  TILE_STORE(0, C, 4 * step_c);
  if (columns == 2) TILE_STORE(1, beside, 4 * step_c);
  if (rows == 2) TILE_STORE(2, C + SIDE * step_c, 4 * step_c);
  if (rows == 2 && columns == 2) TILE_STORE(3, beside + SIDE * step_c, 4 * step_c);
  if (p->finish == AS_IS) return;
  FENCE;
  for (long i = 0; i < rows * SIDE; i++) {
    long at = (m + i) * p->step + n;
    for (int j = 0; j < 2 * SIDE; j += 2 * LANES) {
      vector one = load(&sums[i][j]), two = load(&sums[i][j + LANES]);
      if (p->finish == RELU) {
        const float *start = p->start + p->at_start[m + i] + n + j;
        one += load(start);
        two += load(start + LANES);
        one = (vector)((bits)one & ~(one < 0));
        two = (vector)((bits)two & ~(two < 0));
      } else { /* a ReLU leaves no number below 0 */
        const halves *active = (const halves *)(p->active + at + j);
        bits first = __builtin_convertvector(active[0], bits) & 0x7fff;
        bits second = __builtin_convertvector(active[1], bits) & 0x7fff;
        one = (vector)((bits)one & (first != 0));
        two = (vector)((bits)two & (second != 0));
      }
      ROUND_TWO(p->rounded + at + j, one, two);
    }
  }
}

enum { NEAR = 32 << 10 }; /* bytes of B that stay in the nearest cache beside some rows of A */

USE_TILES static void multiply_tiles(TileProduct p) {
  long down = (p.M + 2 * SIDE - 1) / (2 * SIDE), across = (p.N + 2 * SIDE - 1) / (2 * SIDE);
  int row_by_row = 2 * p.K * p.N <= NEAR; /* else all rows of A for each two columns of tiles */
  FENCE;
  for (long i = 0; i < down * across; i++) {
    long m = 2 * SIDE * (row_by_row ? i / across : i % down);
    long n = 2 * SIDE * (row_by_row ? i % across : i / down);
    int two_down = m + SIDE < p.M, two_across = n + SIDE < p.N;
    if (two_down && two_across) tiles(2, 2, &p, m, n);
    if (two_down && !two_across) tiles(2, 1, &p, m, n);
    if (!two_down && two_across) tiles(1, 2, &p, m, n);
    if (!two_down && !two_across) tiles(1, 1, &p, m, n);
  }
  FENCE;
}

#endif
