/* What a pass has at hand, and what a job works in. */

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
  bfloat *seen1, *seen3; /* what taps see of a block's z1, of the gradient of h */
  bfloat *turned16, *paired; /* of a block, the transpose of something, and pairs of its pixels */
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
  sums.weight1 = take(memory, p->rows1 * panels);
  sums.weight2 = take(memory, p->rows2 * (panels + s->low * p->panel));
  sums.weight3 = take(memory, p->rows3 * panels);
  return sums;
}

static Work work_in(const Shape *s, const Plan *p, float **memory, int backward) {
  long spread = most(p->spread3, backward ? p->spread1 : 0);
  long rows = least(p->most, p->block + 2 * p->halo) + s->low * DEEP;
  long activations = p->layer / p->blocks, halves = s->low * deep(p->block) / 2;
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
  w.seen1 = (bfloat *)take(memory, halves * p->seen1);
  w.seen3 = (bfloat *)take(memory, back * halves * p->seen3);
  w.turned16 = (bfloat *)take(memory, back * halves * most(p->wide, most(p->rows1, p->seen3)));
  w.paired = (bfloat *)take(memory, back * halves * (p->wide + SIDE));
  w.sums = *memory;
  if (backward) sums_in(s, p, memory);
  return w;
}
