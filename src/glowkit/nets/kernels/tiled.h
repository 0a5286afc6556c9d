/* A conditioner's products in bfloat16, by tiles: activations and their gradients are rows of
   rounded numbers, (deep(pixels), wide). */

#ifdef USE_TILES

/* h1 and h2 of a block; of the pixels over its end, which sums of products pass over, 0. */
static void hidden_by_tiles(const Pass *pass, const Work *w, long first, long pixels,
                            const float *start, const int *at_start, bfloat *h1, bfloat *h2) {
  const Shape *s = &pass->call->shape;
  const Plan *p = &pass->plan;
  const Tables *t = &pass->tables;
  see((bfloat *)w->in, p->step, s->kept, t->place + first, pixels, w->seen1);
  multiply_tiles((TileProduct){.M = deep(pixels), .N = p->wide, .K = p->seen1, .A = w->seen1,
                               .step_a = p->seen1, .B = (bfloat *)pass->packs.first,
                               .finish = RELU, .start = start, .at_start = at_start,
                               .rounded = h1, .step = p->wide});
  multiply_tiles((TileProduct){.M = deep(pixels), .N = p->wide, .K = p->wide, .A = h1,
                               .step_a = p->wide, .B = (bfloat *)pass->packs.second,
                               .finish = RELU, .start = pass->packs.start2, .at_start = t->zero,
                               .rounded = h2, .step = p->wide});
  long over = (deep(pixels) - pixels) * p->wide * sizeof *h1;
  memset(h1 + pixels * p->wide, 0, over);
  memset(h2 + pixels * p->wide, 0, over);
}

/* To taps x channels of every pixel: 31 pixels over the end are written. */
static void spread_by_tiles(const Plan *p, const float *rows, long pixels, const float *B,
                            long spread, float *to) {
  multiply_tiles((TileProduct){.M = deep(pixels), .N = spread, .K = p->wide, .A = (bfloat *)rows,
                               .step_a = p->wide, .B = (bfloat *)B, .C = to, .panel = spread,
                               .step_c = spread});
}

/* Sums of products over pixels: A's rows are channels of w->turned16, B's columns w->paired's. */
static void sum_by_tiles(const Plan *p, const Work *w, long M, long N, long pixels, float *C,
                         int again) {
  multiply_tiles((TileProduct){.M = M, .N = N, .K = pixels, .A = w->turned16, .step_a = pixels,
                               .B = w->paired, .C = C, .panel = p->panel, .panel_c = M * p->panel,
                               .step_c = p->panel, .again = again});
}

/* Gradients of a block: of h1 and h2 to w->by1 and w->by2, of weights to the sums. Those of shifts
   come along: as further rows, which are 1 for pixels of a class, and as a further column of 1. */
static void gradients_by_tiles(const Pass *pass, const Work *w, const Sums *sums, long first,
                               long pixels, const bfloat *h1, const bfloat *h2, int again) {
  enum { ONE = 0x3f80 };
  const Shape *s = &pass->call->shape;
  const Plan *p = &pass->plan;
  const Tables *t = &pass->tables;
  long M = deep(pixels), wide = p->wide;
  bfloat *by1 = (bfloat *)w->by1, *by2 = (bfloat *)w->by2;
  see((bfloat *)w->out, p->step, s->outputs, t->place + first, pixels, w->seen3);
  multiply_tiles((TileProduct){.M = M, .N = wide, .K = p->seen3, .A = w->seen3,
                               .step_a = p->seen3, .B = (bfloat *)pass->packs.back3,
                               .finish = WHERE_ACTIVE, .active = h2, .rounded = by2,
                               .step = wide});
  transpose(w->seen3, p->seen3, M, p->seen3, w->turned16);
  pair_all(h2, wide, M, wide, w->paired);
  sum_by_tiles(p, w, p->rows3, wide, M, sums->weight3, again);
  multiply_tiles((TileProduct){.M = M, .N = wide, .K = wide, .A = by2, .step_a = wide,
                               .B = (bfloat *)pass->packs.back2, .finish = WHERE_ACTIVE,
                               .active = h1, .rounded = by1, .step = wide});
  transpose(by2, wide, M, wide, w->turned16);
  pair_all(h1, wide, M, wide, w->paired);
  for (long i = 0; i < SIDE * M; i++) w->paired[wide * M + i] = ONE;
  sum_by_tiles(p, w, p->rows2, wide + SIDE, M, sums->weight2, again);
  see((bfloat *)w->in, p->step, s->kept, t->place + first, pixels, w->seen1);
  transpose(w->seen1, p->seen1, M, p->seen1, w->turned16);
  bfloat *classes = w->turned16 + p->seen1 * M;
  memset(classes, 0, CLASSES * M * sizeof *classes);
  for (long i = 0; i < pixels; i++) classes[t->class[first + i] * M + i] = ONE;
  pair_all(by1, wide, M, wide, w->paired);
  sum_by_tiles(p, w, p->rows1, wide, M, sums->weight1, again);
}

#else
static void hidden_by_tiles(const Pass *pass, const Work *w, long first, long pixels,
                            const float *start, const int *at_start, bfloat *h1, bfloat *h2) {}
static void spread_by_tiles(const Plan *p, const float *rows, long pixels, const float *B,
                            long spread, float *to) {}
static void gradients_by_tiles(const Pass *pass, const Work *w, const Sums *sums, long first,
                               long pixels, const bfloat *h1, const bfloat *h2, int again) {}
#endif
