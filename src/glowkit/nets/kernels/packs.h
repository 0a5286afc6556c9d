/* Parameters as the products read them: scaled, turned, in panels. */
#include <math.h>

typedef struct {
  float *scale1, *scale2, *scale3;      /* exp(3 logs) */
  float *first, *second, *third;        /* forward: taps to hidden, hidden, to taps x outputs */
  float *start1, *start2, *start3;      /* forward: shifts, by class of a pixel where 3x3 */
  float *back1, *back2, *back3;         /* gradients of what goes in */
  float *rows1, *rows2, *rows3;         /* what tiles' are made of; theirs are bfloats */
} Packs;

static Packs packs_in(const Shape *s, const Plan *p, float **memory) {
  long n = s->hidden;
  Packs packs;
  packs.scale1 = take(memory, n);
  packs.scale2 = take(memory, n);
  packs.scale3 = take(memory, s->outputs);
  long first = 9 * s->kept * p->wide, second = n * p->wide, third = n * p->spread3;
  long back1 = n * p->spread1, back3 = p->taps * s->outputs * p->wide;
  if (s->low) {
    first = back1 = p->seen1 * p->wide / 2;
    second = p->wide * p->wide / 2;
    third = back3 = p->seen3 * p->wide / 2;
  }
  packs.first = take(memory, first);
  packs.second = take(memory, second);
  packs.third = take(memory, third);
  packs.start1 = take(memory, CLASSES * p->wide);
  packs.start2 = take(memory, p->wide);
  packs.start3 = take(memory, CLASSES * (s->outputs + PANEL));
  packs.back1 = take(memory, back1);
  packs.back2 = take(memory, second);
  packs.back3 = take(memory, back3);
  packs.rows1 = take(memory, s->low * first);
  packs.rows2 = take(memory, s->low * second);
  packs.rows3 = take(memory, s->low * third);
  return packs;
}

/* A matrix (K, N) in panels: B[k][n] = w[at_k(k) + at_n(n)] * by_k[k] * by_n[n], where an index i
   = (c, a) stands at c * step + a, or, `a_first`, i = (a, c). */
typedef struct {
  long count, taps, step;
  int a_first;
  const float *scale; /* by c; null: 1 */
} Side;

static long stands(const Side *s, long i, long *c) {
  long channels = s->count / s->taps;
  long a = s->a_first ? i / channels : i % s->taps;
  *c = s->a_first ? i % channels : i / s->taps;
  return *c * s->step + a;
}

static void pack(float *to, const float *w, Side rows, Side columns) {
  long N = whole(columns.count), c;
  for (long n0 = 0; n0 < N; n0 += PANEL) {
    long wide = least(PANEL, N - n0), real = least(wide, columns.count - n0);
    long at[PANEL];
    float scale[PANEL];
    int side_by_side = 1;
    for (long n = 0; n < real; n++) {
      at[n] = stands(&columns, n0 + n, &c);
      scale[n] = columns.scale ? columns.scale[c] : 1;
      side_by_side &= at[n] == at[0] + n;
    }
    for (long k = 0; k < rows.count; k++, to += wide) {
      const float *from = w + stands(&rows, k, &c);
      float by = rows.scale ? rows.scale[c] : 1;
      if (side_by_side)
        for (long n = 0; n < real; n++) to[n] = from[at[0] + n] * (by * scale[n]);
      else
        for (long n = 0; n < real; n++) to[n] = from[at[n]] * (by * scale[n]);
      for (long n = real; n < wide; n++) to[n] = 0;
    }
  }
}

static void scales(float *to, const float *logs, long n) {
  for (long i = 0; i < n; i++) to[i] = expf(3 * logs[i]);
}

/* start[class][o] = (bias[o] + sum of edge[o][tap] over the taps outside) * scale[o]. Those inside
   are multiplied by 0, as the ring's inside is: what is not finite is seen there, too. */
static void starts(float *to, long step, const float *edge, const float *bias, const float *scale,
                   long n) {
  for (int class = 0; class < (edge ? CLASSES : 1); class++)
    for (long o = 0; o < n; o++) {
      float sum = bias[o];
      for (long a = 0; edge && a < 9; a++) sum += edge[o * 9 + a] * (float)outside(class, a);
      to[class * step + o] = sum * scale[o];
    }
}

typedef struct {
  const Call *call;
  const Plan *plan;
  Packs packs;
  int part; /* 1: forward, 2: backward, 3: both */
} Packing;

static void pack_one(void *data, long job) {
  Packing *all = data;
  const Shape *s = &all->call->shape;
  const Parameters *w = &all->call->parameters;
  Packs *p = &all->packs;
  long n = s->hidden, taps = all->plan->taps;
  Side first = {9 * s->kept, 9, 9, 0, 0}, first_back = {9 * s->kept, 9, 9, 1, 0};
  Side out = {n, 1, 9 * s->kept, 0, p->scale1};
  Side across = {n, 1, 1, 0, 0}, down = {n, 1, n, 0, p->scale2};
  Side last = {taps * s->outputs, taps, taps * n, 1, p->scale3}, last_back = last;
  Side in = {n, 1, taps, 0, 0};
  last_back.a_first = 0;
  if (all->part & 1) {
    if (job == 0) pack(p->first, w->weight1, first, out);
    if (job == 1) pack(p->second, w->weight2, across, down);
    if (job == 2) pack(p->third, w->weight3, in, last);
  }
  if (all->part & 2) {
    if (job == 3) pack(p->back1, w->weight1, out, first_back);
    if (job == 4) pack(p->back2, w->weight2, down, across);
    if (job == 5) pack(p->back3, w->weight3, last_back, in);
  }
}

#ifdef USE_TILES
/* The rows of three matrices, of which both layouts are made that products read: (hidden, taps x
   kept), (hidden, hidden), (taps x outputs, hidden), the last one's taps from behind, as `see` has
   them for gradients. */
static void pack_rounded(void *data, long job) {
  Packing *all = data;
  const Shape *s = &all->call->shape;
  const Plan *p = all->plan;
  const Parameters *w = &all->call->parameters;
  const Packs *to = &all->packs;
  const long n = s->hidden, size[3] = {p->wide, p->wide, p->seen3};
  const long step[3] = {p->seen1, p->wide, p->wide};
  float *rows_of[3] = {to->rows1, to->rows2, to->rows3};
  float *forward[3] = {to->first, to->second, to->third};
  float *back[3] = {to->back1, to->back2, to->back3};
  if (job > 2) return;
  bfloat *rows = (bfloat *)rows_of[job];
  for (long i = 0; i < size[job]; i++) {
    bfloat *row = rows + i * step[job];
    long done = 0;
    if (job == 0 && i < n) {
      for (long a = 0; a < 9; a++)
        round_row(w->weight1 + i * 9 * s->kept + a, 9, to->scale1[i], s->kept, row + a * s->kept);
      done = 9 * s->kept;
    } else if (job == 1 && i < n) {
      round_row(w->weight2 + i * n, 1, to->scale2[i], done = n, row);
    } else if (job == 2 && i < 9 * s->outputs) {
      long a = 8 - i / s->outputs, o = i % s->outputs;
      round_row(w->weight3 + o * n * 9 + a, 9, to->scale3[o], done = n, row);
    }
    memset(row + done, 0, (step[job] - done) * sizeof *row);
  }
  if (all->part & 1)
    turn_all(rows, step[job], step[job], job == 2 ? p->spread3 : p->wide, (bfloat *)forward[job]);
  if (all->part & 2) pair_all(rows, step[job], size[job], step[job], (bfloat *)back[job]);
}
#else
static void pack_rounded(void *data, long job) { (void)data, (void)job; }
#endif

static void make_packs(const Call *call, const Plan *p, Packs packs, int part) {
  const Shape *s = &call->shape;
  const Parameters *w = &call->parameters;
  scales(packs.scale1, w->logs1, s->hidden);
  scales(packs.scale2, w->logs2, s->hidden);
  scales(packs.scale3, w->logs3, s->outputs);
  memset(packs.start1, 0, 4 * CLASSES * p->wide);
  memset(packs.start2, 0, 4 * p->wide);
  memset(packs.start3, 0, 4 * CLASSES * (s->outputs + PANEL));
  starts(packs.start1, p->wide, w->edge1, w->bias1, packs.scale1, s->hidden);
  starts(packs.start2, p->wide, 0, w->bias2, packs.scale2, s->hidden);
  starts(packs.start3, s->outputs, w->edge3, w->bias3, packs.scale3, s->outputs);
  Packing all = {call, p, packs, part};
  for_each(&call->threads, 6, s->jobs, s->low ? pack_rounded : pack_one, &all);
}
