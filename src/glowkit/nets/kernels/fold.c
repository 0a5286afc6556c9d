/* Actnorm and a factored 1x1 convolution as one matrix, and the gradients of what it is made of.

   W = P L U, packed as LAPACK packs factors: L below the diagonal, U above, ln of U's diagonal on
   it, with fixed signs. A = W diag(s), shift = A b, s = exp(3 logs); log_det = 3 sum logs + sum ln
   |U_ii|. All of it in double, for C^3 products of a few channels. Sizes: C x C, and C. */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
  int64_t channels;
  const float *packed, *signs, *bias, *logs;
  const int64_t *permutation; /* row i of W is row permutation[i] of L U */
  double *scratch;            /* 6 C x C + 2 C */
  float *matrix, *shift;
  double *log_det;
  const float *by_matrix, *by_shift;
  double by_log_det;
  float *by_packed, *by_bias, *by_logs;
} Fold;

typedef struct {
  double *lower, *upper, *matrix, *by, *by_lower, *by_upper, *scale, *diagonal;
} Factors;

/* c = a b */
static void product(long n, const double *a, const double *b, double *c) {
  memset(c, 0, sizeof(double) * n * n);
  for (long i = 0; i < n; i++)
    for (long k = 0; k < n; k++)
      for (long j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];
}

static Factors factors(const Fold *f) {
  long n = f->channels, square = n * n;
  double *s = f->scratch;
  Factors a = {s, s + square, s + 2 * square, s + 3 * square, s + 4 * square, s + 5 * square,
               s + 6 * square, s + 6 * square + n};
  for (long i = 0; i < n; i++) {
    a.scale[i] = exp(3.0 * f->logs[i]);
    a.diagonal[i] = exp((double)f->packed[i * n + i]) * f->signs[i];
    for (long j = 0; j < n; j++) {
      double value = f->packed[i * n + j];
      a.lower[i * n + j] = j < i ? value : j == i;
      a.upper[i * n + j] = j > i ? value : j == i ? a.diagonal[i] : 0;
    }
  }
  product(n, a.lower, a.upper, a.by);
  for (long i = 0; i < n; i++)
    for (long j = 0; j < n; j++)
      a.matrix[i * n + j] = a.by[f->permutation[i] * n + j] * a.scale[j];
  return a;
}

void glow_fold(const Fold *f) {
  Factors a = factors(f);
  long n = f->channels;
  *f->log_det = 0;
  for (long i = 0; i < n; i++) {
    double shift = 0;
    for (long j = 0; j < n; j++) {
      f->matrix[i * n + j] = a.matrix[i * n + j];
      shift += a.matrix[i * n + j] * f->bias[j];
    }
    f->shift[i] = shift;
    *f->log_det += 3.0 * f->logs[i] + f->packed[i * n + i];
  }
}

void glow_fold_backward(const Fold *f) {
  Factors a = factors(f);
  long n = f->channels;
  for (long j = 0; j < n; j++) {
    double by_log = f->by_log_det, by_bias = 0;
    for (long i = 0; i < n; i++) {
      double by = f->by_matrix[i * n + j] + (double)f->by_shift[i] * f->bias[j];
      by_log += by * a.matrix[i * n + j];
      by_bias += f->by_shift[i] * a.matrix[i * n + j];
      a.by[f->permutation[i] * n + j] = by * a.scale[j]; /* of L U */
    }
    f->by_logs[j] = 3 * by_log;
    f->by_bias[j] = by_bias;
  }
  double *turned = a.matrix; /* L', then U', where A is no longer needed */
  for (long i = 0; i < n; i++)
    for (long j = 0; j < n; j++) turned[i * n + j] = a.lower[j * n + i];
  product(n, turned, a.by, a.by_upper);
  for (long i = 0; i < n; i++)
    for (long j = 0; j < n; j++) turned[i * n + j] = a.upper[j * n + i];
  product(n, a.by, turned, a.by_lower);
  for (long i = 0; i < n; i++)
    for (long j = 0; j < n; j++)
      f->by_packed[i * n + j] = j < i   ? a.by_lower[i * n + j]
                                : j > i ? a.by_upper[i * n + j]
                                        : a.by_upper[i * n + i] * a.diagonal[i] + f->by_log_det;
}
