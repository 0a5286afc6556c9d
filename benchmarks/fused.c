/* The arithmetic limit: fused multiply-adds of registers alone, as many at a time as are in flight. */
#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vector __attribute__((vector_size(4 * LANES)));
enum { CHAINS = 12 };

int fused_operations(void) { return 2 * LANES * CHAINS; } /* of one round */

float fused(long rounds) {
  vector sum[CHAINS], a = (vector){0} + 0.999f, b = (vector){0} + 1e-7f;
#pragma GCC unroll 16
  for (int i = 0; i < CHAINS; i++) sum[i] = (vector){0} + 1e-3f * i;
  for (long round = 0; round < rounds; round++) {
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * a + b;
  }
#pragma GCC unroll 16
  for (int i = 1; i < CHAINS; i++) sum[0] += sum[i];
  return sum[0][0];
}
