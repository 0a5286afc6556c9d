/* Matrices in bfloat16, laid out as products by tiles read them: see `TileProduct`.

   A row of numbers is whole in DEEP of them, what is over is 0. One kind of shuffle makes all
   layouts: 16 rows of 16 pairs turned; and 32 rows that become pairs, one above the other. */

#ifdef USE_TILES

typedef int32_t pairs16 __attribute__((vector_size(64), aligned(2), may_alias));
typedef bfloat row32 __attribute__((vector_size(64), aligned(2), may_alias));

#ifdef __clang__
#define SHUFFLE(kind, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(kind, a, b, ...) __builtin_shuffle(a, b, (kind){__VA_ARGS__})
#endif

/* to[j][i] = from[i][j] for 16 rows of 16 pairs: halves change places, then quarters, and so on. */
#define PLACE_LOW(j, s) ((j) & (s) ? 16 + ((j) ^ (s)) : (j))
#define PLACE_HIGH(j, s) ((j) & (s) ? 16 + (j) : ((j) ^ (s)))
#define PLACES(of, s)                                                                              \
  of(0, s), of(1, s), of(2, s), of(3, s), of(4, s), of(5, s), of(6, s), of(7, s), of(8, s),        \
      of(9, s), of(10, s), of(11, s), of(12, s), of(13, s), of(14, s), of(15, s)
#define CHANGE(s)                                                                                  \
  UNROLL for (int i = 0; i < SIDE; i++) if (!(i & s)) {                                            \
    pairs16 low = row[i], high = row[i + s];                                                       \
    row[i] = SHUFFLE(pairs16, low, high, PLACES(PLACE_LOW, s));                                    \
    row[i + s] = SHUFFLE(pairs16, low, high, PLACES(PLACE_HIGH, s));                               \
  }
INLINE void turn_pairs(pairs16 *row) { CHANGE(8) CHANGE(4) CHANGE(2) CHANGE(1) }

/* A tile of a matrix (N, K) as one of (K, N): rows `step` apart to rows one after another. */
static void turn_tile(const bfloat *from, long step, bfloat *to) {
  pairs16 row[SIDE];
  UNROLL for (int i = 0; i < SIDE; i++) row[i] = *(const pairs16 *)(from + i * step);
  turn_pairs(row);
  UNROLL for (int i = 0; i < SIDE; i++) *(pairs16 *)(to + i * DEEP) = row[i];
}

/* 32 rows of 32 numbers, as pairs of rows: the first 16 columns and the others. */
#define BOTH(j) (j), 32 + (j), (j) + 1, 33 + (j)
#define EIGHT_PAIRS(j) BOTH(j), BOTH(j + 2), BOTH(j + 4), BOTH(j + 6)
INLINE void pair_rows(const bfloat *from, long step, pairs16 *first, pairs16 *second) {
  UNROLL for (int i = 0; i < SIDE; i++, from += 2 * step) {
    row32 a = *(const row32 *)from, b = *(const row32 *)(from + step);
    first[i] = (pairs16)SHUFFLE(row32, a, b, EIGHT_PAIRS(0), EIGHT_PAIRS(8));
    second[i] = (pairs16)SHUFFLE(row32, a, b, EIGHT_PAIRS(16), EIGHT_PAIRS(24));
  }
}

/* B of a product from the rows of B: (K, N), both whole. */
static void pair_all(const bfloat *from, long step, long K, long N, bfloat *to) {
  for (long n = 0; n < N; n += DEEP)
    for (long k = 0; k < K; k += DEEP)
      pair_rows(from + k * step + n, step, (pairs16 *)(to + n * K + k * SIDE),
                (pairs16 *)(to + (n + SIDE) * K + k * SIDE));
}

/* B of a product from the rows of B's transpose: (N, K), N in sides. */
static void turn_all(const bfloat *from, long step, long K, long N, bfloat *to) {
  for (long n = 0; n < N; n += SIDE)
    for (long k = 0; k < K; k += DEEP, to += TILE) turn_tile(from + n * step + k, step, to);
}

/* The transpose of (M, N), both whole: rows of M numbers. */
static void transpose(const bfloat *from, long step, long M, long N, bfloat *to) {
  for (long m = 0; m < M; m += DEEP)
    for (long n = 0; n < N; n += DEEP) {
      pairs16 row[2][SIDE];
      pair_rows(from + m * step + n, step, row[0], row[1]);
      for (int half = 0; half < 2; half++) {
        turn_pairs(row[half]);
        UNROLL for (int i = 0; i < SIDE; i++)
          *(pairs16 *)(to + (n + half * SIDE + i) * M + m) = row[half][i];
      }
    }
}

/* Planes (channels, columns) of pixels as (pixels, channels), rounded, each at its place in a
   padded image; 31 numbers over the end of each pixel become 0, before the next is written. */
static void round_planes(const float *planes, long columns, long channels, long pixels,
                         const int *place, bfloat *to) {
  for (long c0 = (channels - 1) / DEEP * DEEP; c0 >= 0; c0 -= DEEP)
    for (long p = 0; p < pixels; p += SIDE) {
      pairs16 row[SIDE];
      for (int i = 0; i < SIDE; i++) {
        long c = c0 + 2 * i;
        const float *from = planes + c * columns + p;
        for (int at = 0; at < SIDE; at += LANES) {
          vector one = c < channels ? load(from + at) : (vector){0};
          vector two = c + 1 < channels ? load(from + columns + at) : (vector){0};
          *(bits *)((int32_t *)(row + i) + at) = (rounding(one) & 0xffff) | rounding(two) << 16;
        }
      }
      turn_pairs(row);
      for (long i = 0; i < least(SIDE, pixels - p); i++)
        *(pairs16 *)(to + place[p + i] * channels + c0) = row[i];
    }
}

/* What the nine taps see of `pixels` pixels, (deep(pixels), deep(9 * channels)): three rows of a
   padded image, of three neighbours each. */
static void see(const bfloat *image, long row, long channels, const int *place, long pixels,
                bfloat *to) {
  long step = deep(9 * channels), three = 3 * channels;
  for (long p = 0; p < pixels; p++, to += step) {
    const bfloat *from = image + (place[p] - row - 1) * channels;
    for (long y = 0; y < 3; y++)
      for (long i = 0; i < three; i += DEEP)
        *(row32 *)(to + y * three + i) = *(const row32 *)(from + y * row * channels + i);
    *(row32 *)(to + 3 * three) = (row32){0};
  }
  memset(to, 0, (deep(pixels) - pixels) * step * sizeof *to);
}

/* n numbers `apart`, times a scale, into a row: 31 over its end are written. */
static void round_row(const float *from, long apart, float scale, long n, bfloat *to) {
  for (long i = 0; i < n; i += DEEP) {
    float some[DEEP] __attribute__((aligned(64))) = {0};
    if (n - i >= DEEP && apart == 1)
      for (long j = 0; j < DEEP; j++) some[j] = from[i + j] * scale;
    else
      for (long j = 0; j < least(DEEP, n - i); j++) some[j] = from[(i + j) * apart] * scale;
    for (long j = 0; j < least(DEEP, n - i); j += LANES) store_rounded(to + i + j, load(some + j));
  }
}

INLINE float widened(bfloat from) {
  uint32_t b = (uint32_t)from << 16;
  float f;
  memcpy(&f, &b, sizeof f);
  return f;
}

#else
static void round_planes(const float *planes, long columns, long channels, long pixels,
                         const int *place, bfloat *to) {}
static float widened(bfloat from) { return from; }
#endif
