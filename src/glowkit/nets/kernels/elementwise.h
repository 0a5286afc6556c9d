/* Couplings' maps of one row of elements, in loops that the compiler makes vectors of. */
#include <math.h>
#include <stdint.h>
#include <string.h>

/* exp(-a) for a >= 0: 2^n p(r), n whole, |r| <= ln 2 / 2; Cephes' polynomial. Below the smallest
   number 0; NaN is handed on, here and in all that follows. */
static inline float decay(float a) {
  float x = a > 104.f ? -104.f : -a;
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
static void affine(long n, const float *restrict x, const float *restrict t,
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
static void affine_inverse(long n, float *restrict y, const float *restrict t,
                           const float *restrict r, float *restrict log_scale) {
  for (long i = 0; i < n; i++) {
    float raw = r[i] + CENTRE, e = decay(fabsf(raw)), negative = raw < 0.f ? raw : 0.f;
    float s = (raw < 0.f ? e : 1.f) / (1.f + e);
    log_scale[i] = negative - log_one_plus(e);
    y[i] = y[i] / s - t[i];
  }
}

/* by_x = by_t = by_y s; by_r = (1 - s) (by_y y + by_ladj); by_x in place of by_y */
static void affine_gradients(long n, float *restrict by_y, const float *restrict y,
                             const float *restrict scale, float by_ladj, float *restrict by_t,
                             float *restrict by_r) {
  for (long i = 0; i < n; i++) {
    by_r[i] = (1.f - scale[i]) * (by_y[i] * y[i] + by_ladj);
    by_t[i] = by_y[i] = by_y[i] * scale[i];
  }
}
