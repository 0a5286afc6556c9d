/* Gradients of a step of flow: of a group of images, and, at the end, of the parameters. */

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
  lay(pass, w->turned, s->outputs, images, w->out);
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
    for (long c = 0; s->low && c < s->hidden; c++) {
      float by = widened(((const bfloat *)by1)[i * p->wide + c]);
      to[c] = s->context ? by : to[c] + by;
    }
    for (long n = 0; !s->low && n < s->hidden; n += p->panel) {
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
    float *spread = w->spread + (first - window.base) * p->spread1;
    if (s->low) {
      gradients_by_tiles(pass, w, sums, first, M, (bfloat *)h1, (bfloat *)h2, again || first);
      if (call->by_added) add_context(pass, w->by1, image, first, M);
      spread_by_tiles(p, w->by1, M, pass->packs.back1, p->spread1, spread);
      roll(pass, &window, w->spread, p->spread1, s->kept, -1, 0, w->h, first + M, pixels);
      continue;
    }
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
                       .C = spread, .panel_c = PANEL, .step_c = p->spread1});
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
  if (s->low) tiles_on();
  float *memory = w.sums;
  Sums sums = sums_in(s, p, &memory);
  long first, end, c = s->channels, HW = p->pixels;
  groups_of(pass, job, &first, &end);
  /* The first products write their sums, which are large, instead of adding to them. */
  memset(w.sums, 0, 4 * ((first < end ? sums.weight1 : memory) - w.sums));
  for (long group = first; group < end; group++) {
    long image = group * p->group, images = least(p->group, s->images - image), M = images * HW;
    /* z1 stands in y, or is x where a conditioner is alone */
    planes(p, c, images, (s->mixes || s->transform ? call->y : call->x) + image * c * HW, w.x);
    lay(pass, w.x, s->kept, images, w.in);
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
  if (s->low) tiles_off();
}

/* What all jobs' sums mean for the parameters: every output channel by itself. */
typedef struct {
  const Pass *pass;
  Sums sums;
} Ending;

/* Of a channel's bias and edge, from sums by class `apart`; adds what they give to its scale's. */
static float end_start(const float *start, long apart, float scale, float by_scale,
                       const float *edge, float *by_edge, float *by_bias) {
  float bias = 0;
  for (int class = 0; class < CLASSES; class++) bias += start[class * apart];
  for (long a = 0; edge && a < 9; a++) {
    float by = 0;
    for (int class = 0; class < CLASSES; class++)
      by += start[class * apart] * (float)outside(class, a); /* 0 * NaN too; see `starts` */
    by_edge[a] = by * scale;
    by_scale += by * scale * edge[a];
  }
  *by_bias = bias * scale;
  return by_scale;
}

static void end_first(const Ending *e, long from, long to) {
  const Call *call = e->pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &e->pass->plan;
  const Parameters *w = &call->parameters;
  const Gradients *d = &call->gradients;
  long K = 9 * s->kept, rows = p->rows1 * p->panel;
  for (long o = from; o < to; o++) {
    const float *column = e->sums.weight1 + o / p->panel * rows + o % p->panel;
    float scale = e->pass->packs.scale1[o], by_scale = 0;
    for (long k = 0; k < K; k++) {
      long row = s->low ? k % 9 * s->kept + k / 9 : k; /* as `see` has them */
      float by = column[row * p->panel] * scale;
      d->weight1[o * K + k] = by;
      by_scale += by * w->weight1[o * K + k];
    }
    const float *start = e->sums.start1 + o / p->panel * CLASSES * p->panel + o % p->panel;
    if (s->low) start = column + p->seen1 * p->panel;
    by_scale = end_start(start, p->panel, scale, by_scale, w->edge1 + o * 9, d->edge1 + o * 9,
                         d->bias1 + o);
    d->logs1[o] = 3 * (by_scale + d->bias1[o] * w->bias1[o]);
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
      const float *row = e->sums.weight2 + n / p->panel * p->rows2 * p->panel + o * p->panel;
      for (long i = 0; i < least(p->panel, K - n); i++) {
        float by = row[i] * scale;
        d->weight2[o * K + n + i] = by;
        by_scale += by * w->weight2[o * K + n + i];
      }
    }
    const float *ones = e->sums.weight2 + p->wide / p->panel * p->rows2 * p->panel +
                        o * p->panel + p->wide % p->panel;
    float bias = (call->shape.low ? *ones : e->sums.start2[o]) * scale;
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
  long n = s->hidden, taps = p->taps, rows = p->rows3;
  for (long o = from; o < to; o++) {
    float scale = e->pass->packs.scale3[o], by_scale = 0;
    for (long a = 0; a < taps; a++)
      for (long i = 0; i < n; i++) {
        long at = (o * n + i) * taps + a, row = s->low ? (8 - a) * s->outputs + o : o * taps + a;
        float by = scale * e->sums.weight3[i / p->panel * rows * p->panel + row * p->panel +
                                           i % p->panel];
        d->weight3[at] = by;
        by_scale += by * w->weight3[at];
      }
    const float *edge = w->edge3 ? w->edge3 + o * 9 : 0;
    float *by_edge = w->edge3 ? d->edge3 + o * 9 : 0;
    by_scale = end_start(e->sums.start3 + o, s->outputs, scale, by_scale, edge, by_edge,
                         d->bias3 + o);
    d->logs3[o] = 3 * (by_scale + d->bias3[o] * w->bias3[o]);
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
