/* A step of flow of Glow's: 1x1 convolution, conditioner, coupling; forward, inverse, gradients.

   z = A x + shift                                    for every pixel, A a matrix of the channels
   h1 = relu(conv3x3(z1; w1) + added), h2 = relu(w2 h1), h = conv(h2; w3), each scaled and shifted
   y = [z1, T(z2; h)], ladj = sum of ln |dT/dz2|

   Or a conditioner alone (`mixes` 0, `transform` NONE, kept = channels). A group of images with
   about BLOCK pixels at a time goes through all of it, so that what is between stays in the cache;
   jobs take ranges of groups that depend on their number alone, each sums gradients by itself, and
   the sums are added in the order of jobs: equal calls give equal bits. Nothing is kept here: all
   memory is the caller's. */
#include "elementwise.h"
#include "product.h"
#include "threads.h"

typedef enum { NONE, ADDITIVE, AFFINE } Transform;
enum { BLOCK = 256, CLASSES = 16 };

/* What is computed. All of one width, for whoever calls from another language. */
typedef struct {
  int64_t images, channels, height, width; /* of x */
  int64_t kept, outputs, hidden;           /* channels of z1, of h, of h1 and h2 */
  int64_t last;                            /* 3 or 1: the last convolution's kernel */
  int64_t mixes, transform;
  int64_t context; /* floats of `added` from one pixel to the next: 0 if it is one for all */
  int64_t jobs;
} Shape;

typedef struct {
  const float *weight1, *edge1, *bias1, *logs1; /* (hidden, kept, 3, 3), (hidden, 3, 3), ... */
  const float *weight2, *bias2, *logs2;
  const float *weight3, *edge3, *bias3, *logs3; /* edge3 null where last is 1 */
  const float *matrix, *shift;                  /* A, (channels, channels), row by row */
} Parameters;

typedef struct { /* of the parameters, each of the same shape */
  float *weight1, *edge1, *bias1, *logs1, *weight2, *bias2, *logs2;
  float *weight3, *edge3, *bias3, *logs3, *matrix, *shift;
} Gradients;

typedef struct {
  Shape shape;
  Parameters parameters;
  Threads threads;
  float *packs;         /* what `glow_pack` made of the parameters */
  float *scratch;       /* `glow_scratch` floats */
  const float *x;       /* (images, channels, height, width); inverse: y */
  const float *added;   /* null, or (images, hidden), or (images, height, width, hidden) */
  float *y, *ladj;      /* NONE: z. inverse: x */
  float *h;             /* NONE: h. AFFINE forward: the scales, for the gradients; may be null */
  float *h1, *h2;       /* for the gradients, `glow_hidden` floats each; null: not kept */
  const float *by_y, *by_ladj, *by_h; /* gradients of the results; null: 0 */
  float *by_x, *by_added;
  Gradients gradients;
} Call;

/* ---- sizes and tables ------------------------------------------------------------------------ */

typedef struct {
  long pixels, taps, plane, step; /* of an image; of the last kernel; of a padded plane, its rows */
  long group, groups, most;       /* images of a group, groups, pixels of a group */
  long block, blocks;             /* pixels of a block, blocks of a group */
  long wide, panel;               /* hidden, in whole vectors; columns of a panel of hidden */
  long halo;                      /* pixels that the last convolution looks back */
  long spread1, spread3;          /* taps x channels of the first and last, in whole vectors */
  long columns;                   /* pixels of a group, in whole vectors */
  long layer;                     /* floats of hidden activations of a group */
} Plan;

static Plan plan(const Shape *s) {
  Plan p = {.pixels = s->height * s->width, .taps = s->last * s->last};
  p.step = s->width + 2;
  p.plane = p.step * (s->height + 2);
  long fit = most(1, BLOCK / p.pixels), groups = (s->images + fit - 1) / fit; /* in turns of jobs */
  groups = most(1, least(s->images, (groups + s->jobs - 1) / s->jobs * s->jobs));
  p.group = (s->images + groups - 1) / groups;
  p.groups = (s->images + p.group - 1) / p.group;
  p.most = p.group * p.pixels;
  p.block = least(p.most, BLOCK);
  p.blocks = (p.most + p.block - 1) / p.block;
  p.wide = whole(s->hidden);
  p.panel = least(PANEL, p.wide);
  p.halo = s->width + 1;
  p.spread1 = whole(9 * s->kept);
  p.spread3 = whole(p.taps * s->outputs);
  p.columns = whole(p.most);
  p.layer = p.blocks * p.block * ((p.wide + p.panel - 1) / p.panel) * p.panel;
  return p;
}

static float *take(float **from, long floats) {
  float *here = *from;
  *from += (floats + 15) / 16 * 16 + 32; /* two vectors may read or write over the end */
  return here;
}

/* Offsets of A's rows and columns, for every product; `in`: planes of z1, `out`: planes of h. */
typedef struct {
  int *in_pixel, *in_tap, *out_pixel, *out_tap; /* the taps of `out` are flipped */
  int *hidden_pixel, *hidden_channel; /* of activations in panels */
  int *channel, *row, *shift;         /* of planes; of A; of its shift */
  int *line, *zero, *class, *start, *added;
} Tables;

static Tables tables(const Shape *s, const Plan *p, float **memory, int fill) {
  long all = most(most(p->columns, p->wide), s->channels);
  Tables t;
  t.in_pixel = (int *)take(memory, p->most);
  t.in_tap = (int *)take(memory, 9 * s->kept);
  t.out_pixel = (int *)take(memory, p->most);
  t.out_tap = (int *)take(memory, p->taps * s->outputs);
  t.hidden_pixel = (int *)take(memory, p->block);
  t.hidden_channel = (int *)take(memory, p->wide);
  t.channel = (int *)take(memory, s->channels);
  t.row = (int *)take(memory, s->channels);
  t.shift = (int *)take(memory, s->channels);
  t.line = (int *)take(memory, all);
  t.zero = (int *)take(memory, all);
  t.class = (int *)take(memory, p->most);
  t.start = (int *)take(memory, p->most);
  t.added = (int *)take(memory, p->block);
  if (!fill) return t;
  long i = 0;
  for (long g = 0; g < p->group; g++)
    for (long y = 0; y < s->height; y++)
      for (long x = 0; x < s->width; x++, i++) {
        t.in_pixel[i] = g * s->kept * p->plane + y * p->step + x;
        t.out_pixel[i] = g * s->outputs * p->plane + y * p->step + x;
        int row = (y == 0) | (y == s->height - 1) << 1, column = (x == 0) | (x == s->width - 1) << 1;
        t.class[i] = row * 4 + column;
        t.start[i] = t.class[i] * p->wide;
      }
  for (long c = 0; c < s->kept; c++)
    for (long a = 0; a < 9; a++) t.in_tap[c * 9 + a] = c * p->plane + a / 3 * p->step + a % 3;
  for (long c = 0; c < s->outputs; c++)
    for (long a = 0; a < p->taps; a++)
      t.out_tap[c * p->taps + a] =
          c * p->plane + (p->taps == 1 ? p->step + 1 : (2 - a / 3) * p->step + 2 - a % 3);
  for (i = 0; i < p->block; i++) t.hidden_pixel[i] = i * p->panel;
  for (i = 0; i < p->block; i++) t.added[i] = i * p->wide;
  for (i = 0; i < s->hidden; i++)
    t.hidden_channel[i] = i / p->panel * p->block * p->panel + i % p->panel;
  for (i = 0; i < s->channels; i++) {
    t.channel[i] = i * p->columns;
    t.row[i] = i * s->channels;
    t.shift[i] = i * PANEL;
  }
  for (i = 0; i < all; i++) t.line[i] = i, t.zero[i] = 0;
  return t;
}

/* Whether a tap of a pixel of a class lies outside of the image. */
static int outside(int class, long tap) {
  int row = class / 4, column = class % 4;
  return (tap / 3 == 0 && row & 1) || (tap / 3 == 2 && row & 2) || (tap % 3 == 0 && column & 1) ||
         (tap % 3 == 2 && column & 2);
}

/* ---- packs: parameters as the products read them ---------------------------------------------- */

typedef struct {
  float *scale1, *scale2, *scale3;      /* exp(3 logs) */
  float *first, *second, *third;        /* forward: taps to hidden, hidden, to taps x outputs */
  float *start1, *start2, *start3;      /* forward: shifts, by class of a pixel where 3x3 */
  float *back1, *back2, *back3;         /* gradients of what goes in */
} Packs;

static Packs packs_in(const Shape *s, const Plan *p, float **memory) {
  long n = s->hidden;
  Packs packs;
  packs.scale1 = take(memory, n);
  packs.scale2 = take(memory, n);
  packs.scale3 = take(memory, s->outputs);
  packs.first = take(memory, 9 * s->kept * p->wide);
  packs.second = take(memory, n * p->wide);
  packs.third = take(memory, n * p->spread3);
  packs.start1 = take(memory, CLASSES * p->wide);
  packs.start2 = take(memory, p->wide);
  packs.start3 = take(memory, CLASSES * (s->outputs + PANEL));
  packs.back1 = take(memory, n * p->spread1);
  packs.back2 = take(memory, n * p->wide);
  packs.back3 = take(memory, p->taps * s->outputs * p->wide);
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
  for_each(&call->threads, 6, s->jobs, pack_one, &all);
}


/* ---- pieces of a pass over a group of images ---------------------------------------------------- */

typedef struct {
  const Call *call;
  Plan plan;
  Tables tables;
  Packs packs;
  const float *matrix, *turned, *shift; /* A, its transpose, its shift along a row of pixels */
  float *memory;                        /* of the first job; each has `share` floats */
  long share;
} Pass;

typedef struct { /* what a job works in */
  float *x, *z;          /* (channels, columns) */
  float *in, *out;       /* padded planes of z1; of the gradient of h */
  float *h, *turned;     /* (pixels, outputs), or z1's gradient, and (outputs, columns) */
  float *spread;         /* a block's pixels and those it looks back to, (.., spread) */
  float *h1, *h2;        /* activations of a block, where they are not kept */
  float *by1, *by2;      /* their gradients */
  float *start;          /* shifts of the first layer, where a context is added */
  float *pixels;         /* x as (pixels, channels) */
  float *sums;           /* gradients of parameters, all jobs' to be added; see Sums */
} Work;

typedef struct {
  float *weight1, *weight2, *weight3; /* as the products leave them, in panels */
  float *start1, *start2, *start3;    /* by class where 3x3 */
  float *matrix, *shift;
} Sums;

static Sums sums_in(const Shape *s, const Plan *p, float **memory) {
  long c = s->channels * s->mixes, panels = (p->wide + p->panel - 1) / p->panel * p->panel;
  Sums sums;
  sums.start1 = take(memory, CLASSES * panels);
  sums.start2 = take(memory, panels);
  sums.start3 = take(memory, CLASSES * s->outputs);
  sums.matrix = take(memory, c * whole(c));
  sums.shift = take(memory, c);
  sums.weight1 = take(memory, 9 * s->kept * panels);
  sums.weight2 = take(memory, s->hidden * panels);
  sums.weight3 = take(memory, p->taps * s->outputs * panels);
  return sums;
}

static Work work_in(const Shape *s, const Plan *p, float **memory, int backward) {
  long spread = most(p->spread3, backward ? p->spread1 : 0);
  long rows = least(p->most, p->block + 2 * p->halo), activations = p->layer / p->blocks;
  long c = s->channels, back = backward ? 1 : 0;
  Work w;
  w.x = take(memory, c * p->columns);
  w.z = take(memory, c * p->columns);
  w.in = take(memory, p->group * s->kept * p->plane);
  w.out = take(memory, back * p->group * s->outputs * p->plane);
  w.h = take(memory, p->most * most(most(p->spread3, s->outputs), back * s->kept));
  w.turned = take(memory, s->outputs * p->columns);
  w.spread = take(memory, rows * spread);
  w.h1 = take(memory, activations);
  w.h2 = take(memory, activations);
  w.by1 = take(memory, back * activations);
  w.by2 = take(memory, back * activations);
  w.start = take(memory, p->block * p->wide);
  w.pixels = take(memory, back * p->most * whole(c));
  w.sums = *memory;
  if (backward) sums_in(s, p, memory);
  return w;
}

/* Images first.. of (images, channels, pixels) as planes (channels, columns) side by side, or back. */
static void planes(const Plan *p, long channels, long images, const float *from, float *to) {
  for (long c = 0; c < channels; c++) {
    for (long g = 0; g < images; g++)
      memcpy(to + c * p->columns + g * p->pixels, from + (g * channels + c) * p->pixels,
             4 * p->pixels);
    for (long i = images * p->pixels; i < p->columns; i++) to[c * p->columns + i] = 0;
  }
}

static void images_of(const Plan *p, long channels, long images, const float *from, float *to) {
  for (long g = 0; g < images; g++)
    for (long c = 0; c < channels; c++)
      memcpy(to + (g * channels + c) * p->pixels, from + c * p->columns + g * p->pixels,
             4 * p->pixels);
}

/* y = M x (+ shift) for planes. */
static void mix(const Pass *pass, const float *M, const float *shift, const float *x, float *y) {
  const Plan *p = &pass->plan;
  const Tables *t = &pass->tables;
  long c = pass->call->shape.channels;
  multiply((Product){.M = c, .N = p->columns, .K = c, .A = M, .at_row = t->row, .at_k = t->line,
                     .B = x, .panel_b = PANEL, .step_b = p->columns, .C = y, .panel_c = PANEL,
                     .step_c = p->columns, .start = shift, .at_start = t->shift});
}

/* Planes into the middle of padded ones, one image after another; `stride`, `from` channels apart. */
static void pad(const Shape *s, const Plan *p, const float *from, long stride, long channels,
                long images, float *to) {
  for (long g = 0; g < images; g++)
    for (long c = 0; c < channels; c++)
      for (long y = 0; y < s->height; y++)
        memcpy(to + (g * channels + c) * p->plane + (y + 1) * p->step + 1,
               from + c * stride + g * p->pixels + y * s->width, 4 * s->width);
}

/* (pixels, channels), rows `step` apart, to (channels, columns). */
static void turn(const float *from, long step, long pixels, long channels, long columns, float *to) {
  for (long p0 = 0; p0 < pixels; p0 += 16)
    for (long c = 0; c < channels; c++)
      for (long p = p0; p < least(pixels, p0 + 16); p++) to[c * columns + p] = from[p * step + c];
}

/* h1 and h2 of the pixels first.. of a group. */
static void activations(const Pass *pass, const Work *w, long image, long first, long pixels,
                        float *h1, float *h2) {
  const Shape *s = &pass->call->shape;
  const Plan *p = &pass->plan;
  const Tables *t = &pass->tables;
  const float *start = pass->packs.start1, *added = pass->call->added;
  const int *at_start = t->start + first;
  if (added) {
    for (long i = 0; i < pixels; i++) {
      const float *own = pass->packs.start1 + t->start[first + i];
      const float *more = added + (s->context ? image * p->pixels + first + i
                                              : image + (first + i) / p->pixels) * s->hidden;
      for (long c = 0; c < s->hidden; c++) w->start[i * p->wide + c] = own[c] + more[c];
      for (long c = s->hidden; c < p->wide; c++) w->start[i * p->wide + c] = 0;
    }
    start = w->start;
    at_start = t->added;
  }
  long panel = p->block * p->panel;
  multiply((Product){.M = pixels, .N = p->wide, .K = 9 * s->kept, .A = w->in,
                     .at_row = t->in_pixel + first, .at_k = t->in_tap, .B = pass->packs.first,
                     .panel_b = 9 * s->kept * PANEL, .C = h1, .panel_c = panel, .step_c = p->panel,
                     .start = start, .at_start = at_start, .panel_start = PANEL, .finish = RELU});
  multiply((Product){.M = pixels, .N = p->wide, .K = s->hidden, .A = h1, .at_row = t->hidden_pixel,
                     .at_k = t->hidden_channel, .B = pass->packs.second,
                     .panel_b = s->hidden * PANEL, .C = h2, .panel_c = panel, .step_c = p->panel,
                     .start = pass->packs.start2, .at_start = t->zero, .panel_start = PANEL,
                     .finish = RELU});
}

/* to[q] = start[class of q] + sum over taps a of spread[q + sign * offset(a)][a], pixels q from..end
   of a group; `spread` begins with pixel `base`. Writes whole vectors: what comes over the end of
   a pixel is written again with the next. */
INLINE void gather_vectors(const int vectors, const Shape *s, const Plan *p, const float *spread,
                           long step, long base, long channels, int sign, const float *start,
                           const int *class, float *to, long from, long end) {
  long y = from % p->pixels / s->width, x = from % s->width, down = s->width;
  for (long q = from; q < end; q++) {
    const float *here = spread + (q - base) * step;
    vector sum[MOST];
    UNROLL for (int v = 0; v < vectors; v++)
      sum[v] = start ? load(start + class[q] * channels + LANES * v) : (vector){0};
    int inner = y > 0 && y + 1 < s->height && x > 0 && x + 1 < s->width;
    for (int a = 0; a < 9; a++) {
      long dy = sign * (a / 3 - 1), dx = sign * (a % 3 - 1);
      if (!inner && (y + dy < 0 || y + dy >= s->height || x + dx < 0 || x + dx >= s->width)) continue;
      const float *tap = here + (dy * down + dx) * step + a * channels;
      UNROLL for (int v = 0; v < vectors; v++) sum[v] += load(tap + LANES * v);
    }
    UNROLL for (int v = 0; v < vectors; v++) store(to + q * channels + LANES * v, sum[v]);
    if (++x == s->width) x = 0, y = y + 1 == s->height ? 0 : y + 1;
  }
}

static void gather(const Shape *s, const Plan *p, const float *spread, long step, long base,
                   long channels, int sign, const float *start, const int *class, float *to,
                   long from, long end) {
  /* From the last channels to the first would overwrite: pixels outermost, so chunks one by one. */
  if (channels <= LANES)
    gather_vectors(1, s, p, spread, step, base, channels, sign, start, class, to, from, end);
  else if (channels <= 2 * LANES)
    gather_vectors(2, s, p, spread, step, base, channels, sign, start, class, to, from, end);
  else
    for (long q = from; q < end; q++)
      for (long c = 0; c < channels; c += 2 * LANES) /* the next chunk, or pixel, writes over */
        gather_vectors(2, s, p, spread + c, step, base, channels, sign, start ? start + c : 0,
                       class, to + c, q, q + 1);
}

/* The rolling window of a 3x3 convolution that was made as a product for all taps. */
typedef struct {
  long base, done;
} Window;

static void roll(const Pass *pass, Window *v, float *spread, long step, long channels, int sign,
                 const float *start, float *to, long end, long pixels) {
  const Plan *p = &pass->plan;
  long ready = end == pixels ? pixels : most(v->done, end - p->halo);
  gather(&pass->call->shape, p, spread, step, v->base, channels, sign, start, pass->tables.class,
         to, v->done, ready);
  v->done = ready;
  long base = most(v->base, ready - p->halo);
  if (end < pixels && base > v->base) {
    memmove(spread, spread + (base - v->base) * step, 4 * (end - base) * step);
    v->base = base;
  }
}

/* h of a group as (outputs, columns), from the padded planes of z1. */
static void conditioner(const Pass *pass, const Work *w, long group, long image, long pixels) {
  const Call *call = pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &pass->plan;
  const Tables *t = &pass->tables;
  Window window = {0, 0};
  long step = p->spread3;
  for (long first = 0, b = 0; first < pixels; first += p->block, b++) {
    long M = least(p->block, pixels - first), kept = group * p->layer + b * (p->layer / p->blocks);
    float *h1 = call->h1 ? call->h1 + kept : w->h1, *h2 = call->h1 ? call->h2 + kept : w->h2;
    activations(pass, w, image, first, M, h1, h2);
    float *to = p->taps == 1 ? w->h + first * step : w->spread + (first - window.base) * step;
    multiply((Product){.M = M, .N = step, .K = s->hidden, .A = h2, .at_row = t->hidden_pixel,
                       .at_k = t->hidden_channel, .B = pass->packs.third,
                       .panel_b = s->hidden * PANEL, .C = to, .panel_c = PANEL, .step_c = step,
                       .start = p->taps == 1 ? pass->packs.start3 : 0, .at_start = t->zero,
                       .panel_start = PANEL});
    if (p->taps == 9)
      roll(pass, &window, w->spread, step, s->outputs, 1, pass->packs.start3, w->h, first + M,
           pixels);
  }
  turn(w->h, p->taps == 1 ? step : s->outputs, pixels, s->outputs, p->columns, w->turned);
}

/* ---- forward and inverse ------------------------------------------------------------------------ */

static void blank(const Shape *s, const Plan *p, const Work *w, int backward) {
  memset(w->in, 0, 4 * p->group * s->kept * p->plane);
  memset(w->turned, 0, 4 * s->outputs * p->columns);
  if (backward) memset(w->out, 0, 4 * p->group * s->outputs * p->plane);
}

static Work job_memory(const Pass *pass, long job, int backward) {
  float *memory = pass->memory + job * pass->share;
  Work w = work_in(&pass->call->shape, &pass->plan, &memory, backward);
  blank(&pass->call->shape, &pass->plan, &w, backward);
  return w;
}

static void groups_of(const Pass *pass, long job, long *first, long *end) {
  long jobs = pass->call->shape.jobs;
  *first = pass->plan.groups * job / jobs;
  *end = pass->plan.groups * (job + 1) / jobs;
}

static void forward_job(void *data, long job) {
  const Pass *pass = data;
  const Call *call = pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &pass->plan;
  Work w = job_memory(pass, job, 0);
  long first, end, c = s->channels, moved = c - s->kept, HW = p->pixels;
  groups_of(pass, job, &first, &end);
  for (long group = first; group < end; group++) {
    long image = group * p->group, images = least(p->group, s->images - image);
    const float *x = call->x + image * c * HW;
    planes(p, c, images, x, w.x);
    float *z = w.x;
    if (s->mixes) mix(pass, pass->matrix, pass->shift, w.x, z = w.z);
    pad(s, p, z, p->columns, s->kept, images, w.in);
    conditioner(pass, &w, group, image, images * HW);
    if (s->transform == NONE) {
      images_of(p, s->outputs, images, w.turned, call->h + image * s->outputs * HW);
      if (s->mixes) images_of(p, c, images, z, call->y + image * c * HW);
      continue;
    }
    for (long g = 0; g < images; g++) {
      float *y = call->y + (image + g) * c * HW, ladj = 0;
      for (long k = 0; k < c; k++) {
        const float *from = z + k * p->columns + g * HW;
        if (k < s->kept) {
          memcpy(y + k * HW, from, 4 * HW);
        } else if (s->transform == ADDITIVE) {
          const float *t = w.turned + (k - s->kept) * p->columns + g * HW;
          for (long i = 0; i < HW; i++) y[k * HW + i] = from[i] + t[i];
        } else {
          const float *t = w.turned + 2 * (k - s->kept) * p->columns + g * HW;
          float *kept = call->h ? call->h + ((image + g) * moved + k - s->kept) * HW : w.h;
          affine(HW, from, t, t + p->columns, y + k * HW, kept, w.h + HW);
          ladj += sum(w.h + HW, HW);
        }
      }
      call->ladj[image + g] = ladj;
    }
  }
}

static void inverse_job(void *data, long job) {
  const Pass *pass = data;
  const Call *call = pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &pass->plan;
  Work w = job_memory(pass, job, 0);
  long first, end, c = s->channels, HW = p->pixels;
  groups_of(pass, job, &first, &end);
  for (long group = first; group < end; group++) {
    long image = group * p->group, images = least(p->group, s->images - image);
    planes(p, c, images, call->x + image * c * HW, w.x);
    pad(s, p, w.x, p->columns, s->kept, images, w.in);
    conditioner(pass, &w, group, image, images * HW);
    for (long g = 0; g < images; g++) {
      float ladj = 0;
      for (long k = s->kept; k < c; k++) {
        float *z = w.x + k * p->columns + g * HW;
        if (s->transform == ADDITIVE) {
          const float *t = w.turned + (k - s->kept) * p->columns + g * HW;
          for (long i = 0; i < HW; i++) z[i] -= t[i];
        } else {
          const float *t = w.turned + 2 * (k - s->kept) * p->columns + g * HW;
          affine_inverse(HW, z, t, t + p->columns, w.h);
          ladj -= sum(w.h, HW);
        }
      }
      call->ladj[image + g] = ladj;
    }
    float *x = w.x;
    if (s->mixes) mix(pass, pass->matrix, pass->shift, w.x, x = w.z);
    images_of(p, c, images, x, call->y + image * c * HW);
  }
}

/* ---- gradients ----------------------------------------------------------------------------------- */

/* The gradient of h, in the middle of the padded planes `out`, and of z2, in w->z. */
static void at_coupling(const Pass *pass, const Work *w, long image, long images) {
  const Call *call = pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &pass->plan;
  long c = s->channels, moved = c - s->kept, HW = p->pixels;
  if (s->transform == NONE) {
    planes(p, s->outputs, images, call->by_h + image * s->outputs * HW, w->turned);
  } else {
    for (long g = 0; g < images; g++)
      for (long k = 0; k < moved; k++) {
        float *to = w->z + (s->kept + k) * p->columns + g * HW;
        float *t = w->turned + (s->transform == AFFINE ? 2 : 1) * k * p->columns + g * HW;
        long at = ((image + g) * c + s->kept + k) * HW;
        if (s->transform == ADDITIVE)
          memcpy(t, to, 4 * HW);
        else
          affine_gradients(HW, to, call->y + at, call->h + ((image + g) * moved + k) * HW,
                           call->by_ladj ? call->by_ladj[image + g] : 0, t, t + p->columns);
      }
  }
  pad(s, p, w->turned, p->columns, s->outputs, images, w->out);
}

/* Sums by class of pixel: of the gradient of h in planes, to (classes, outputs). */
static void sum_planes(const Pass *pass, const float *from, long pixels, float *to) {
  const Plan *p = &pass->plan;
  const Shape *s = &pass->call->shape;
  for (long k = 0; k < s->outputs; k++)
    for (long i = 0; i < pixels; i += s->width) { /* a row: the ends are of other classes */
      const float *row = from + k * p->columns + i;
      const int *class = pass->tables.class + i;
      long inner = most(0, s->width - 2);
      to[class[0] * s->outputs + k] += row[0];
      if (inner) to[class[1] * s->outputs + k] += sum(row + 1, inner);
      if (s->width > 1) to[class[s->width - 1] * s->outputs + k] += row[s->width - 1];
    }
}

/* Of activations' gradients in panels, to (panels, classes, panel), or (panels, panel). */
static void sum_panels(const Pass *pass, const float *from, long pixels, const int *class,
                       float *to) {
  const Plan *p = &pass->plan;
  long rows = class ? CLASSES : 1;
  for (long n = 0; n < p->wide; n += p->panel, from += p->block * p->panel, to += rows * p->panel)
    for (long i = 0; i < pixels; i++) {
      float *sum = to + (class ? class[i] : 0) * p->panel;
      for (long c = 0; c < p->panel; c += LANES)
        store(sum + c, load(sum + c) + load(from + i * p->panel + c));
    }
}

static void add_context(const Pass *pass, const float *by1, long image, long first, long pixels) {
  const Call *call = pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &pass->plan;
  for (long i = 0; i < pixels; i++) {
    long at = s->context ? image * p->pixels + first + i : image + (first + i) / p->pixels;
    float *to = call->by_added + at * s->hidden;
    for (long n = 0; n < s->hidden; n += p->panel) {
      const float *from = by1 + n / p->panel * p->block * p->panel + i * p->panel;
      long wide = least(p->panel, s->hidden - n);
      if (s->context)
        memcpy(to + n, from, 4 * wide);
      else
        for (long c = 0; c < wide; c++) to[n + c] += from[c];
    }
  }
}

/* Gradients of one group's conditioner: adds to the sums, and leaves that of z1 in w->h. */
static void conditioner_gradients(const Pass *pass, const Work *w, const Sums *sums, long group,
                                  long image, long pixels, int again) {
  const Call *call = pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &pass->plan;
  const Tables *t = &pass->tables;
  Window window = {0, 0};
  long n = s->hidden, k3 = p->taps * s->outputs, k1 = 9 * s->kept, panel = p->block * p->panel;
  for (long first = 0, b = 0; first < pixels; first += p->block, b++) {
    long M = least(p->block, pixels - first), kept = group * p->layer + b * (p->layer / p->blocks);
    const float *h1 = call->h1 ? call->h1 + kept : w->h1, *h2 = call->h1 ? call->h2 + kept : w->h2;
    if (!call->h1) activations(pass, w, image, first, M, w->h1, w->h2);
    multiply((Product){.M = M, .N = p->wide, .K = k3, .A = w->out, .at_row = t->out_pixel + first,
                       .at_k = t->out_tap, .B = pass->packs.back3, .panel_b = k3 * PANEL,
                       .C = w->by2, .panel_c = panel, .step_c = p->panel, .finish = WHERE_ACTIVE,
                       .active = h2});
    multiply((Product){.M = k3, .N = p->wide, .K = M, .A = w->out, .at_row = t->out_tap,
                       .at_k = t->out_pixel + first, .B = h2, .panel_b = panel,
                       .step_b = p->panel, .C = sums->weight3, .panel_c = k3 * p->panel,
                       .step_c = p->panel, .again = again || first});
    multiply((Product){.M = M, .N = p->wide, .K = n, .A = w->by2, .at_row = t->hidden_pixel,
                       .at_k = t->hidden_channel, .B = pass->packs.back2, .panel_b = n * PANEL,
                       .C = w->by1, .panel_c = panel, .step_c = p->panel, .finish = WHERE_ACTIVE,
                       .active = h1});
    multiply((Product){.M = n, .N = p->wide, .K = M, .A = w->by2, .at_row = t->hidden_channel,
                       .at_k = t->hidden_pixel, .B = h1, .panel_b = panel, .step_b = p->panel,
                       .C = sums->weight2, .panel_c = n * p->panel, .step_c = p->panel,
                       .again = again || first});
    multiply((Product){.M = k1, .N = p->wide, .K = M, .A = w->in, .at_row = t->in_tap,
                       .at_k = t->in_pixel + first, .B = w->by1, .panel_b = panel,
                       .step_b = p->panel, .C = sums->weight1, .panel_c = k1 * p->panel,
                       .step_c = p->panel, .again = again || first});
    sum_panels(pass, w->by2, M, 0, sums->start2);
    sum_panels(pass, w->by1, M, t->class + first, sums->start1);
    if (call->by_added) add_context(pass, w->by1, image, first, M);
    multiply((Product){.M = M, .N = p->spread1, .K = n, .A = w->by1, .at_row = t->hidden_pixel,
                       .at_k = t->hidden_channel, .B = pass->packs.back1, .panel_b = n * PANEL,
                       .C = w->spread + (first - window.base) * p->spread1, .panel_c = PANEL,
                       .step_c = p->spread1});
    roll(pass, &window, w->spread, p->spread1, s->kept, -1, 0, w->h, first + M, pixels);
  }
}

static void backward_job(void *data, long job) {
  const Pass *pass = data;
  const Call *call = pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &pass->plan;
  const Tables *t = &pass->tables;
  Work w = job_memory(pass, job, 1);
  float *memory = w.sums;
  Sums sums = sums_in(s, p, &memory);
  long first, end, c = s->channels, HW = p->pixels;
  groups_of(pass, job, &first, &end);
  /* The first products write their sums, which are large, instead of adding to them. */
  memset(w.sums, 0, 4 * ((first < end ? sums.weight1 : memory) - w.sums));
  for (long group = first; group < end; group++) {
    long image = group * p->group, images = least(p->group, s->images - image), M = images * HW;
    /* z1 stands in y, or is x where a conditioner is alone */
    const float *seen = (s->mixes || s->transform ? call->y : call->x) + image * c * HW;
    for (long g = 0; g < images; g++)
      for (long k = 0; k < s->kept; k++)
        for (long y = 0; y < s->height; y++)
          memcpy(w.in + (g * s->kept + k) * p->plane + (y + 1) * p->step + 1,
                 seen + (g * c + k) * HW + y * s->width, 4 * s->width);
    if (call->by_y)
      planes(p, c, images, call->by_y + image * c * HW, w.z);
    else
      memset(w.z, 0, 4 * c * p->columns);
    at_coupling(pass, &w, image, images);
    sum_planes(pass, w.turned, M, sums.start3);
    conditioner_gradients(pass, &w, &sums, group, image, M, group > first);
    for (long k = 0; k < s->kept; k++)
      for (long i = 0; i < M; i++) w.z[k * p->columns + i] += w.h[i * s->kept + k];
    float *by_x = w.z;
    if (s->mixes) {
      planes(p, c, images, call->x + image * c * HW, w.x);
      for (long k = 0; k < c; k++) {
        sums.shift[k] += sum(w.z + k * p->columns, M);
        for (long i = 0; i < M; i++) w.pixels[i * whole(c) + k] = w.x[k * p->columns + i];
      }
      multiply((Product){.M = c, .N = whole(c), .K = M, .A = w.z, .at_row = t->channel,
                         .at_k = t->line, .B = w.pixels, .panel_b = PANEL, .step_b = whole(c),
                         .C = sums.matrix, .panel_c = PANEL, .step_c = whole(c), .again = 1});
      mix(pass, pass->turned, 0, w.z, by_x = w.x);
    }
    images_of(p, c, images, by_x, call->by_x + image * c * HW);
  }
}

/* What all jobs' sums mean for the parameters: every output channel by itself. */
typedef struct {
  const Pass *pass;
  Sums sums;
} Ending;

static void end_first(const Ending *e, long from, long to) {
  const Call *call = e->pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &e->pass->plan;
  const Parameters *w = &call->parameters;
  const Gradients *d = &call->gradients;
  long K = 9 * s->kept;
  for (long o = from; o < to; o++) {
    const float *column = e->sums.weight1 + o / p->panel * K * p->panel + o % p->panel;
    float scale = e->pass->packs.scale1[o], by_scale = 0, bias = 0;
    for (long k = 0; k < K; k++) {
      float by = column[k * p->panel] * scale;
      d->weight1[o * K + k] = by;
      by_scale += by * w->weight1[o * K + k];
    }
    const float *start = e->sums.start1 + o / p->panel * CLASSES * p->panel + o % p->panel;
    for (int class = 0; class < CLASSES; class++) bias += start[class * p->panel];
    for (long a = 0; a < 9; a++) {
      float by = 0;
      for (int class = 0; class < CLASSES; class++)
        by += start[class * p->panel] * (float)outside(class, a); /* 0 * NaN too; see `starts` */
      d->edge1[o * 9 + a] = by * scale;
      by_scale += by * scale * w->edge1[o * 9 + a];
    }
    d->bias1[o] = bias * scale;
    d->logs1[o] = 3 * (by_scale + bias * scale * w->bias1[o]);
  }
}

static void end_second(const Ending *e, long from, long to) {
  const Call *call = e->pass->call;
  const Plan *p = &e->pass->plan;
  const Parameters *w = &call->parameters;
  const Gradients *d = &call->gradients;
  long K = call->shape.hidden;
  for (long o = from; o < to; o++) {
    float scale = e->pass->packs.scale2[o], by_scale = 0;
    for (long n = 0; n < K; n += p->panel) {
      const float *row = e->sums.weight2 + n / p->panel * K * p->panel + o * p->panel;
      for (long i = 0; i < least(p->panel, K - n); i++) {
        float by = row[i] * scale;
        d->weight2[o * K + n + i] = by;
        by_scale += by * w->weight2[o * K + n + i];
      }
    }
    float bias = e->sums.start2[o] * scale;
    d->bias2[o] = bias;
    d->logs2[o] = 3 * (by_scale + bias * w->bias2[o]);
  }
}

static void end_third(const Ending *e, long from, long to) {
  const Call *call = e->pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &e->pass->plan;
  const Parameters *w = &call->parameters;
  const Gradients *d = &call->gradients;
  long n = s->hidden, taps = p->taps, rows = taps * s->outputs;
  for (long o = from; o < to; o++) {
    float scale = e->pass->packs.scale3[o], by_scale = 0, bias = 0;
    for (long a = 0; a < taps; a++)
      for (long i = 0; i < n; i++) {
        long at = (o * n + i) * taps + a;
        float by = scale * e->sums.weight3[i / p->panel * rows * p->panel +
                                           (o * taps + a) * p->panel + i % p->panel];
        d->weight3[at] = by;
        by_scale += by * w->weight3[at];
      }
    const float *start = e->sums.start3 + o;
    for (int class = 0; class < CLASSES; class++) bias += start[class * s->outputs];
    for (long a = 0; w->edge3 && a < 9; a++) {
      float by = 0;
      for (int class = 0; class < CLASSES; class++)
        by += start[class * s->outputs] * (float)outside(class, a);
      d->edge3[o * 9 + a] = by * scale;
      by_scale += by * scale * w->edge3[o * 9 + a];
    }
    d->bias3[o] = bias * scale;
    d->logs3[o] = 3 * (by_scale + bias * scale * w->bias3[o]);
  }
}

static void end_job(void *data, long job) {
  const Ending *e = data;
  const Shape *s = &e->pass->call->shape;
  long jobs = s->jobs, n = s->hidden;
  end_first(e, n * job / jobs, n * (job + 1) / jobs);
  end_second(e, n * job / jobs, n * (job + 1) / jobs);
  end_third(e, s->outputs * job / jobs, s->outputs * (job + 1) / jobs);
}

static void add_job(void *data, long job) {
  const Pass *pass = data;
  const Shape *s = &pass->call->shape;
  float *memory = pass->memory, *end;
  Work w = work_in(s, &pass->plan, &memory, 1);
  end = w.sums;
  sums_in(s, &pass->plan, &end);
  long floats = end - w.sums, from = floats * job / s->jobs, to = floats * (job + 1) / s->jobs;
  for (long other = 1; other < s->jobs; other++) {
    const float *more = w.sums + other * pass->share;
    for (long i = from; i < to; i++) w.sums[i] += more[i];
  }
}

/* ---- what is called ------------------------------------------------------------------------------ */

static Pass prepare(const Call *call, int backward, int fill) {
  Pass pass = {.call = call, .plan = plan(&call->shape)};
  float *memory = call->packs, *scratch = call->scratch, *before = 0, *share = 0;
  pass.packs = packs_in(&call->shape, &pass.plan, &memory);
  pass.tables = tables(&call->shape, &pass.plan, &scratch, fill);
  long c = call->shape.mixes ? call->shape.channels : 0;
  float *turned = take(&scratch, c * c), *shift = take(&scratch, c * PANEL);
  for (long i = 0; fill && i < c; i++) {
    for (long j = 0; j < c; j++) turned[j * c + i] = call->parameters.matrix[i * c + j];
    for (long n = 0; n < PANEL; n++) shift[i * PANEL + n] = call->parameters.shift[i];
  }
  pass.matrix = call->parameters.matrix;
  pass.turned = turned;
  pass.shift = shift;
  work_in(&call->shape, &pass.plan, &share, backward);
  pass.share = share - before;
  pass.memory = scratch;
  return pass;
}

int64_t glow_version(void) { return 1; }

int64_t glow_packs(const Shape *s) {
  Plan p = plan(s);
  float *none = 0, *memory = none;
  packs_in(s, &p, &memory);
  return memory - none;
}

int64_t glow_scratch(const Shape *s, int64_t backward) {
  Call call = {.shape = *s};
  Pass pass = prepare(&call, backward, 0);
  return pass.memory - (float *)0 + s->jobs * pass.share;
}

int64_t glow_hidden(const Shape *s) {
  Plan p = plan(s);
  return p.groups * p.layer;
}

/* part 1: what `glow_forward` and `glow_inverse` need; 2: what `glow_backward` does; 3: both. */
void glow_pack(const Call *call, int64_t part) {
  Pass pass = prepare(call, 0, 0);
  make_packs(call, &pass.plan, pass.packs, part);
}

void glow_forward(const Call *call) {
  Pass pass = prepare(call, 0, 1);
  for_each(&call->threads, call->shape.jobs, call->shape.jobs, forward_job, &pass);
}

/* A and its shift are those of the inverse. */
void glow_inverse(const Call *call) {
  Pass pass = prepare(call, 0, 1);
  for_each(&call->threads, call->shape.jobs, call->shape.jobs, inverse_job, &pass);
}

void glow_backward(const Call *call) {
  const Shape *s = &call->shape;
  Pass pass = prepare(call, 1, 1);
  if (call->by_added && !s->context) memset(call->by_added, 0, 4 * s->images * s->hidden);
  for_each(&call->threads, s->jobs, s->jobs, backward_job, &pass);
  for_each(&call->threads, s->jobs, s->jobs, add_job, &pass);
  float *memory = pass.memory;
  Work w = work_in(s, &pass.plan, &memory, 1);
  memory = w.sums;
  Ending ending = {&pass, sums_in(s, &pass.plan, &memory)};
  for_each(&call->threads, s->jobs, s->jobs, end_job, &ending);
  long c = s->mixes ? s->channels : 0;
  for (long i = 0; i < c; i++) {
    call->gradients.shift[i] = ending.sums.shift[i];
    for (long j = 0; j < c; j++)
      call->gradients.matrix[i * c + j] = ending.sums.matrix[i * whole(c) + j];
  }
}
