/* The logit of a logistic mixture's distribution function; forward, gradients, inverse.

   y = logit F(x) exp(s) + t, ln dy/dx = ln f - ln F - ln(1 - F) + s, with z_k = (x - m_k) rate_k,
   F = sum pi_k sigmoid(z_k), 1 - F = sum pi_k sigmoid(-z_k), f = sum pi_k rate_k sigmoid(z_k)
   sigmoid(-z_k): three sums of positive terms. Where one of them would vanish, far out in the tails,
   their logarithms are summed instead, element by element. A row is a channel of an image, whose
   parameters stand in rows of as many elements: s before tanh, t, K logits of pi, K means, K
   log-scales before their floor. */
#include "elementwise.h"
#include "threads.h"

enum { CHUNK = 64, MOST_COMPONENTS = 32 };

typedef struct {
  int64_t rows, elements, components, halvings, jobs;
  float floor; /* of log-scales */
  Threads threads;
  const float *x, *groups; /* (rows, elements), (rows, 2 + 3 K, elements) */
  float *y, *log_slope;
  const float *by_y, *by_slope;
  float *by_x, *by_groups;
} Mixture;

static const float SMALLEST = 1e-30f; /* of the sums, well above where digits are lost */

typedef struct { /* of one element */
  float below, above, density; /* ln F, ln (1 - F), ln f */
} Logs;

static float softplus(float a) { return (a > 0 ? a : 0) + log1pf(expf(-fabsf(a))); }

/* ln of the terms of F, 1 - F and f, and of their sums; `at`: K logits, stride apart. */
static Logs far_terms(const Mixture *m, float x, const float *at, float *p, float *q, float *r) {
  long K = m->components, step = m->elements;
  float most_logit = at[0], den = 0, top[3] = {-INFINITY, -INFINITY, -INFINITY}, sum[3] = {0, 0, 0};
  float *terms[3] = {p, q, r}, logs[3];
  for (long k = 1; k < K; k++) most_logit = at[k * step] > most_logit ? at[k * step] : most_logit;
  for (long k = 0; k < K; k++) den += expf(at[k * step] - most_logit);
  for (long k = 0; k < K; k++) {
    float raw = at[(2 * K + k) * step], log_scale = raw < m->floor ? m->floor : raw;
    float z = (x - at[(K + k) * step]) * expf(-log_scale), sp = softplus(z);
    q[k] = at[k * step] - most_logit - logf(den) - sp;
    p[k] = q[k] + z;
    r[k] = p[k] - sp - log_scale;
    for (int i = 0; i < 3; i++) top[i] = terms[i][k] > top[i] ? terms[i][k] : top[i];
  }
  for (int i = 0; i < 3; i++) {
    for (long k = 0; k < K; k++) sum[i] += expf(terms[i][k] - top[i]);
    logs[i] = top[i] + logf(sum[i]);
  }
  return (Logs){logs[0], logs[1], logs[2]};
}

static float squash(float raw) { /* tanh */
  float e = decay(2.f * fabsf(raw)), t = (1.f - e) / (1.f + e);
  return raw < 0.f ? -t : t;
}

typedef struct { /* a component, at elements of a chunk */
  float up[CHUNK], down[CHUNK], rate[CHUNK], weight[CHUNK], z[CHUNK];
} Component;

static void component(const Mixture *m, long n, long k, const float *restrict x,
                      const float *restrict at, const float *restrict most_logit,
                      Component *restrict c) {
  const float *logit = at + k * m->elements, *mean = logit + m->components * m->elements;
  const float *raw = mean + m->components * m->elements, floor = m->floor;
  for (long i = 0; i < n; i++) {
    float rate = exponential(raw[i] < floor ? -floor : -raw[i]);
    float z = (x[i] - mean[i]) * rate, e = decay(fabsf(z)), near = 1.f / (1.f + e), far = e * near;
    c->z[i] = z;
    c->rate[i] = rate;
    c->up[i] = z < 0.f ? far : near;
    c->down[i] = z < 0.f ? near : far;
    c->weight[i] = exponential(logit[i] - most_logit[i]);
  }
}

typedef struct {
  float most_logit[CHUNK], den[CHUNK], below[CHUNK], above[CHUNK], density[CHUNK];
  float log_below[CHUNK], log_above[CHUNK], log_density[CHUNK];
  int far; /* whether some element is */
} Sums;

static int is_far(const Sums *s, long i) {
  float least = SMALLEST * s->den[i];
  return !(s->below[i] > least && s->above[i] > least && s->density[i] > least);
}

/* The three sums, times den, and the logarithms of what they are; far elements by themselves. */
static void sums(const Mixture *m, long n, const float *x, const float *at, Sums *s) {
  Component c;
  for (long i = 0; i < n; i++) {
    s->most_logit[i] = at[i];
    s->den[i] = s->below[i] = s->above[i] = s->density[i] = 0;
  }
  for (long k = 1; k < m->components; k++)
    for (long i = 0; i < n; i++) {
      float logit = at[k * m->elements + i];
      s->most_logit[i] = logit > s->most_logit[i] ? logit : s->most_logit[i];
    }
  for (long k = 0; k < m->components; k++) {
    component(m, n, k, x, at, s->most_logit, &c);
    for (long i = 0; i < n; i++) {
      float w = c.weight[i], p = w * c.up[i];
      s->den[i] += w;
      s->below[i] += p;
      s->above[i] += w * c.down[i];
      s->density[i] += p * c.rate[i] * c.down[i];
    }
  }
  for (long i = 0; i < n; i++) {
    float log_den = logarithm(s->den[i]);
    s->log_below[i] = logarithm(s->below[i]) - log_den;
    s->log_above[i] = logarithm(s->above[i]) - log_den;
    s->log_density[i] = logarithm(s->density[i]) - log_den;
  }
  s->far = 0;
  for (long i = 0; i < n; i++) s->far |= is_far(s, i);
  float p[MOST_COMPONENTS], q[MOST_COMPONENTS], r[MOST_COMPONENTS];
  for (long i = 0; s->far && i < n; i++)
    if (is_far(s, i)) {
      Logs logs = far_terms(m, x[i], at + i, p, q, r);
      s->log_below[i] = logs.below;
      s->log_above[i] = logs.above;
      s->log_density[i] = logs.density;
    }
}

static void rows_of(const Mixture *m, long job, long *from, long *to) {
  *from = m->rows * job / m->jobs;
  *to = m->rows * (job + 1) / m->jobs;
}

static void mixture_forward_job(void *data, long job) {
  const Mixture *m = data;
  long E = m->elements, parameters = 2 + 3 * m->components, from, to;
  rows_of(m, job, &from, &to);
  for (long row = from; row < to; row++)
    for (long first = 0; first < E; first += CHUNK) {
      long n = E - first < CHUNK ? E - first : CHUNK;
      const float *x = m->x + row * E + first, *g = m->groups + row * parameters * E + first;
      float *y = m->y + row * E + first, *slope = m->log_slope + row * E + first;
      Sums s;
      sums(m, n, x, g + 2 * E, &s);
      for (long i = 0; i < n; i++) {
        float log_scale = squash(g[i]);
        y[i] = (s.log_below[i] - s.log_above[i]) * exponential(log_scale) + g[E + i];
        slope[i] = s.log_density[i] - s.log_below[i] - s.log_above[i] + log_scale;
      }
    }
}

/* With P, Q, R the terms over their sums, each times the gradient of its sum's logarithm: by ln pi
   P + R - Q, by z P down + Q up + R (down - up), by the log-scale -(R + z by_z). */
static void component_gradients(long n, const Component *restrict c, const Sums *restrict s,
                                const float *restrict by_below, const float *restrict by_above,
                                const float *restrict by_slope, const float *restrict raw,
                                float floor, float *restrict by_logit, float *restrict by_mean,
                                float *restrict by_raw, float *restrict by_x) {
  for (long i = 0; i < n; i++) {
    float w = c->weight[i], up = c->up[i], down = c->down[i];
    float P = w * up * (by_below[i] / s->below[i]), Q = w * down * (by_above[i] / s->above[i]);
    float R = w * up * c->rate[i] * down * (by_slope[i] / s->density[i]);
    float by_z = P * down + Q * up + R * (down - up), by = by_z * c->rate[i];
    by_logit[i] = P + R - Q + w / s->den[i] * by_slope[i];
    by_mean[i] = -by;
    by_raw[i] = -(R + by_z * c->z[i]) * (raw[i] >= floor ? 1.f : 0.f);
    by_x[i] += by;
  }
}

static void mixture_backward_job(void *data, long job) {
  const Mixture *m = data;
  long E = m->elements, K = m->components, parameters = 2 + 3 * K, from, to;
  float p[MOST_COMPONENTS], q[MOST_COMPONENTS], r[MOST_COMPONENTS];
  rows_of(m, job, &from, &to);
  for (long row = from; row < to; row++)
    for (long first = 0; first < E; first += CHUNK) {
      long n = E - first < CHUNK ? E - first : CHUNK;
      const float *x = m->x + row * E + first, *g = m->groups + row * parameters * E + first;
      const float *by_y = m->by_y + row * E + first, *by_slope = m->by_slope + row * E + first;
      float *by_x = m->by_x + row * E + first, *by_g = m->by_groups + row * parameters * E + first;
      float by_below[CHUNK], by_above[CHUNK];
      Sums s;
      Component c;
      sums(m, n, x, g + 2 * E, &s);
      for (long i = 0; i < n; i++) {
        float log_scale = squash(g[i]), gain = by_y[i] * exponential(log_scale);
        float logit = s.log_below[i] - s.log_above[i];
        by_x[i] = 0;
        by_g[i] = (gain * logit + by_slope[i]) * (1.f - log_scale * log_scale);
        by_g[E + i] = by_y[i];
        by_below[i] = gain - by_slope[i];
        by_above[i] = gain + by_slope[i];
      }
      for (long k = 0; k < K; k++) {
        float *by_logit = by_g + (2 + k) * E, *by_mean = by_logit + K * E;
        float *by_raw = by_mean + K * E;
        const float *raw = g + (2 + 2 * K + k) * E;
        component(m, n, k, x, g + 2 * E, s.most_logit, &c);
        component_gradients(n, &c, &s, by_below, by_above, by_slope, raw, m->floor, by_logit, by_mean,
                            by_raw, by_x);
      }
      for (long i = 0; s.far && i < n; i++) {
        if (!is_far(&s, i)) continue;
        Logs logs = far_terms(m, x[i], g + 2 * E + i, p, q, r);
        float sum = 0;
        by_x[i] = 0;
        for (long k = 0; k < K; k++) sum += expf(g[(2 + k) * E + i] - s.most_logit[i]);
        for (long k = 0; k < K; k++) {
          float raw = g[(2 + 2 * K + k) * E + i], log_scale = raw < m->floor ? m->floor : raw;
          float rate = expf(-log_scale), z = (x[i] - g[(2 + K + k) * E + i]) * rate;
          float up = 1.f / (1.f + expf(-z)), down = 1.f / (1.f + expf(z));
          float P = expf(p[k] - logs.below) * by_below[i];
          float Q = expf(q[k] - logs.above) * by_above[i];
          float R = expf(r[k] - logs.density) * by_slope[i];
          float by_z = P * down + Q * up + R * (down - up);
          float pi = expf(g[(2 + k) * E + i] - s.most_logit[i]) / sum;
          by_g[(2 + k) * E + i] = P + R - Q + pi * by_slope[i];
          by_g[(2 + K + k) * E + i] = -by_z * rate;
          by_g[(2 + 2 * K + k) * E + i] = -(R + by_z * z) * (raw >= m->floor ? 1.f : 0.f);
          by_x[i] += by_z * rate;
        }
      }
    }
}

/* The root of logit F(x) = r by halving a bracket. The k-th component alone would have its root at
   m_k + r / rate_k; those of all are the bracket. The smaller of F and 1 - F over sigmoid(-|r|) is
   compared with 1. */
static void mixture_root_job(void *data, long job) {
  const Mixture *m = data;
  long E = m->elements, K = m->components, parameters = 2 + 3 * K, from, to;
  rows_of(m, job, &from, &to);
  for (long row = from; row < to; row++)
    for (long first = 0; first < E; first += CHUNK) {
      long n = E - first < CHUNK ? E - first : CHUNK;
      const float *y = m->x + row * E + first, *g = m->groups + row * parameters * E + first;
      float *x = m->y + row * E + first;
      float weight[MOST_COMPONENTS][CHUNK], rate[MOST_COMPONENTS][CHUNK];
      float low[CHUNK], high[CHUNK], toward[CHUNK], r[CHUNK], den[CHUNK], most_logit[CHUNK];
      for (long i = 0; i < n; i++) {
        r[i] = (y[i] - g[E + i]) * exponential(-squash(g[i]));
        toward[i] = r[i] > 0.f ? -1.f : 1.f;
        most_logit[i] = g[2 * E + i];
        den[i] = 0;
      }
      for (long k = 1; k < K; k++)
        for (long i = 0; i < n; i++) {
          float logit = g[(2 + k) * E + i];
          most_logit[i] = logit > most_logit[i] ? logit : most_logit[i];
        }
      for (long k = 0; k < K; k++)
        for (long i = 0; i < n; i++) {
          float raw = g[(2 + 2 * K + k) * E + i], log_scale = raw < m->floor ? m->floor : raw;
          float root = g[(2 + K + k) * E + i] + r[i] * exponential(log_scale);
          weight[k][i] = g[(2 + k) * E + i] - most_logit[i];
          den[i] += exponential(weight[k][i]);
          rate[k][i] = toward[i] * exponential(-log_scale);
          low[i] = k == 0 || root < low[i] ? root : low[i];
          high[i] = k == 0 || root > high[i] ? root : high[i];
        }
      for (long i = 0; i < n; i++) {
        float size = fabsf(r[i]);
        den[i] = size + log_one_plus(decay(size)) - logarithm(den[i]);
      }
      for (long k = 0; k < K; k++)
        for (long i = 0; i < n; i++) weight[k][i] += den[i];
      for (long halving = 0; halving < m->halvings; halving++) {
        float ratio[CHUNK];
        for (long i = 0; i < n; i++) ratio[i] = 0;
        for (long k = 0; k < K; k++) {
          const float *mean = g + (2 + K + k) * E;
          for (long i = 0; i < n; i++) {
            float z = ((low[i] + high[i]) * 0.5f - mean[i]) * rate[k][i];
            float softplus = (z < 0.f ? -z : 0.f) + log_one_plus(decay(fabsf(z)));
            ratio[i] += exponential(weight[k][i] - softplus);
          }
        }
        for (long i = 0; i < n; i++) {
          float middle = (low[i] + high[i]) * 0.5f;
          float more = (ratio[i] - 1.f) * toward[i]; /* above the root */
          int above = toward[i] > 0.f ? more > 0.f : !(more < 0.f);
          low[i] = above ? low[i] : middle;
          high[i] = above ? middle : high[i];
        }
      }
      for (long i = 0; i < n; i++) x[i] = (low[i] + high[i]) * 0.5f;
    }
}

void glow_mixture_forward(const Mixture *m) {
  for_each(&m->threads, m->jobs, m->jobs, mixture_forward_job, (void *)m);
}

void glow_mixture_backward(const Mixture *m) {
  for_each(&m->threads, m->jobs, m->jobs, mixture_backward_job, (void *)m);
}

void glow_mixture_root(const Mixture *m) {
  for_each(&m->threads, m->jobs, m->jobs, mixture_root_job, (void *)m);
}
