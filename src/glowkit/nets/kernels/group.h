/* Pieces of a pass over a group of images: planes, the channels' matrix, the conditioner. */

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

/* Planes into the middle of padded ones, one image after another: those of an image `channel`
   apart, of images `image`. */
static void pad(const Shape *s, const Plan *p, const float *from, long channel, long image,
                long channels, long images, float *to) {
  for (long g = 0; g < images; g++)
    for (long c = 0; c < channels; c++)
      for (long y = 0; y < s->height; y++)
        memcpy(to + (g * channels + c) * p->plane + (y + 1) * p->step + 1,
               from + c * channel + g * image + y * s->width, 4 * s->width);
}

/* (pixels, channels), rows `step` apart, to (channels, columns). */
static void turn(const float *from, long step, long pixels, long channels, long columns, float *to) {
  for (long p0 = 0; p0 < pixels; p0 += 16)
    for (long c = 0; c < channels; c++)
      for (long p = p0; p < least(pixels, p0 + 16); p++) to[c * columns + p] = from[p * step + c];
}

/* Planes (channels, columns) of a group where convolutions look for them. */
static void lay(const Pass *pass, const float *from, long channels, long images, float *to) {
  const Shape *s = &pass->call->shape;
  const Plan *p = &pass->plan;
  if (s->low)
    round_planes(from, p->columns, channels, images * p->pixels, pass->tables.place, (bfloat *)to);
  else
    pad(s, p, from, p->columns, p->pixels, channels, images, to);
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
  if (s->low) {
    hidden_by_tiles(pass, w, first, pixels, start, at_start, (bfloat *)h1, (bfloat *)h2);
    return;
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
    if (s->low)
      spread_by_tiles(p, h2, M, pass->packs.third, step, to);
    else
      multiply((Product){.M = M, .N = step, .K = s->hidden, .A = h2, .at_row = t->hidden_pixel,
                         .at_k = t->hidden_channel, .B = pass->packs.third,
                         .panel_b = s->hidden * PANEL, .C = to, .panel_c = PANEL, .step_c = step,
                         .start = p->taps == 1 ? pass->packs.start3 : 0, .at_start = t->zero,
                         .panel_start = PANEL});
    if (p->taps == 9)
      roll(pass, &window, w->spread, step, s->outputs, s->low ? -1 : 1, pass->packs.start3, w->h,
           first + M, pixels);
  }
  turn(w->h, p->taps == 1 ? step : s->outputs, pixels, s->outputs, p->columns, w->turned);
}

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
