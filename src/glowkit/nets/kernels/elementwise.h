/* Couplings' maps of one row of elements, in loops that the compiler makes vectors of. */
#include <math.h>
#include <stdint.h>
#include <string.h>

/* exp(x) = 2^n p(r), n whole, |r| <= ln 2 / 2; Cephes' polynomial. Below the smallest number 0, above
   the largest infinite; NaN is handed on, here and in all that follows. */
static inline float exponential(float x) {
  x = x < -104.f ? -104.f : x;
  x = x > 90.f ? 90.f : x;
  float shifted = x * 1.44269504f + 12582912.f; /* 1.5 * 2^23: rounds to a whole number */
  float n = shifted - 12582912.f;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  int32_t whole, half;
  memcpy(&whole, &shifted, 4);
  whole -= 0x4B400000; /* n as an integer */
  half = whole >> 1;
  int32_t upper = (half + 127) << 23, lower = (whole - half + 127) << 23;
  float by, more;
  memcpy(&by, &upper, 4);
  memcpy(&more, &lower, 4);
  return p * by * more; /* in two, for numbers below the normal ones */
}

static inline float decay(float a) { return exponential(-a); }

/* ln x for a normal number x > 0: x = m 2^n, sqrt(1/2) <= m < sqrt(2); Cephes' polynomial. */
static inline float logarithm(float x) {
  int32_t raw;
  memcpy(&raw, &x, 4);
  int32_t n = (raw - 0x3F3504F3) >> 23;
  raw -= n << 23;
  float m, k = (float)n;
  memcpy(&m, &raw, 4);
  m -= 1.f;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  float square = m * m;
  float y = p * m * square - 2.12194440e-4f * k - 0.5f * square;
  return m + y + 0.693359375f * k + (x - x);
}

/* ln(1 + e) for 0 <= e <= 1: 2 artanh(e / (2 + e)). */
static inline float log_one_plus(float e) {
  float s = e / (e + 2.f), t = s * s, p = 1.f / 17;
  p = p * t + 1.f / 15;
  p = p * t + 1.f / 13;
  p = p * t + 1.f / 11;
  p = p * t + 1.f / 9;
  p = p * t + 1.f / 7;
  p = p * t + 1.f / 5;
  p = p * t + 1.f / 3;
  p = p * t + 1.f;
  return (s + s) * p;
}

static const float CENTRE = 2.f;

/* y = (x + t) s, s = sigmoid(r + 2), and ln s */
static inline void affine(long n, const float *restrict x, const float *restrict t,
                   const float *restrict r, float *restrict y, float *restrict scale,
                   float *restrict log_scale) {
  for (long i = 0; i < n; i++) {
    float raw = r[i] + CENTRE, e = decay(fabsf(raw)), negative = raw < 0.f ? raw : 0.f;
    float s = (raw < 0.f ? e : 1.f) / (1.f + e);
    log_scale[i] = negative - log_one_plus(e);
    scale[i] = s;
    y[i] = (x[i] + t[i]) * s;
  }
}

/* x = y / s - t in place of y, and ln s */
static inline void affine_inverse(long n, float *restrict y, const float *restrict t,
                           const float *restrict r, float *restrict log_scale) {
  for (long i = 0; i < n; i++) {
    float raw = r[i] + CENTRE, e = decay(fabsf(raw)), negative = raw < 0.f ? raw : 0.f;
    float s = (raw < 0.f ? e : 1.f) / (1.f + e);
    log_scale[i] = negative - log_one_plus(e);
    y[i] = y[i] / s - t[i];
  }
}

/* by_x = by_t = by_y s; by_r = (1 - s) (by_y y + by_ladj); by_x in place of by_y */
static inline void affine_gradients(long n, float *restrict by_y, const float *restrict y,
                             const float *restrict scale, float by_ladj, float *restrict by_t,
                             float *restrict by_r) {
  for (long i = 0; i < n; i++) {
    by_r[i] = (1.f - scale[i]) * (by_y[i] * y[i] + by_ladj);
    by_t[i] = by_y[i] = by_y[i] * scale[i];
  }
}
