/* The same as kernels_fuzz.c of mixture.c and fold.c, which have no scratch in pieces. */
#include "../../src/glowkit/nets/kernels/fold.c"
#include "../../src/glowkit/nets/kernels/mixture.c"
#include "kernels_fuzz.h"

enum { HALVINGS = 30 };

static char about[200];

static void a_mixture(void) {
  Mixture m = {.rows = between(1, 12), .elements = between(1, 140), .halvings = HALVINGS};
  m.components = between(0, 9) ? between(1, 10) : MOST_COMPONENTS;
  m.jobs = between(1, m.rows < 4 ? m.rows : 4);
  m.floor = -7;
  if (between(0, 1)) m.threads = (Threads){parallel, number, count};
  long xs = m.rows * m.elements, gs = xs * (2 + 3 * m.components);
  int far = between(0, 4) == 0; /* into the tails */
  sprintf(about, "mixture: rows %ld elements %ld components %ld jobs %ld far %d", (long)m.rows,
          (long)m.elements, (long)m.components, (long)m.jobs, far);
  m.x = drawn(xs, far ? 300 : 1);
  m.groups = drawn(gs, far ? 3 : .7f);
  m.by_y = drawn(xs, 1);
  m.by_slope = drawn(xs, 1);
  int inputs = used;
  uint64_t before = digest(0, inputs);
  Copy kept[5];
  for (int turn = 0; turn < 2; turn++) {
    float rubbish = turn ? 3e38f : NAN;
    if (turn) m.threads = (Threads){0, 0, 0};
    m.y = full_of(xs, rubbish);
    m.log_slope = full_of(xs, rubbish);
    m.by_x = full_of(xs, rubbish);
    m.by_groups = full_of(gs, rubbish);
    doing = "forward";
    glow_mixture_forward(&m);
    check(turn, kept, m.y, xs, about);
    check(turn, kept + 1, m.log_slope, xs, about);
    doing = "backward";
    glow_mixture_backward(&m);
    check(turn, kept + 2, m.by_x, xs, about);
    check(turn, kept + 3, m.by_groups, gs, about);
    if (!turn && !far) add(m.by_x, xs), add(m.by_groups, gs);
    doing = "inverse";
    Mixture back = m;
    back.x = m.y;
    back.y = full_of(xs, rubbish);
    glow_mixture_root(&back);
    check(turn, kept + 4, back.y, xs, about);
    for (long i = 0; i < xs && !far; i++)
      if (!(fabsf(back.y[i] - m.x[i]) < 1e-2f)) wrong("the inverse is none", about);
    if (digest(0, inputs) != before) wrong("an input was written", about);
    give_back(inputs);
  }
  for (int i = 0; i < 5; i++) free(kept[i].from);
}

static void a_fold(void) {
  long n = between(1, 24), square = n * n;
  int64_t *permutation = malloc(sizeof(int64_t) * n);
  for (long i = 0; i < n; i++) permutation[i] = i;
  for (long i = n - 1; i > 0; i--) {
    long j = between(0, i), other = permutation[i];
    permutation[i] = permutation[j];
    permutation[j] = other;
  }
  float *signs = full_of(n, 1);
  for (long i = 0; i < n; i++) signs[i] = between(0, 1) ? 1 : -1;
  sprintf(about, "fold: channels %ld", n);
  double log_det = NAN;
  Fold f = {.channels = n, .packed = drawn(square, .2f), .signs = signs, .bias = drawn(n, .3f),
            .logs = drawn(n, .1f), .permutation = permutation, .by_matrix = drawn(square, 1),
            .by_shift = drawn(n, 1), .by_log_det = normal(), .log_det = &log_det};
  int inputs = used;
  uint64_t before = digest(0, inputs);
  Copy kept[5];
  for (int turn = 0; turn < 2; turn++) {
    long doubles = 6 * square + 2 * n;
    float rubbish = turn ? 3e38f : NAN;
    f.scratch = malloc(sizeof(double) * doubles);
    for (long i = 0; i < doubles; i++) f.scratch[i] = rubbish;
    f.matrix = full_of(square, rubbish);
    f.shift = full_of(n, rubbish);
    f.by_packed = full_of(square, rubbish);
    f.by_bias = full_of(n, rubbish);
    f.by_logs = full_of(n, rubbish);
    doing = "forward";
    glow_fold(&f);
    check(turn, kept, f.matrix, square, about);
    check(turn, kept + 1, f.shift, n, about);
    doing = "backward";
    glow_fold_backward(&f);
    check(turn, kept + 2, f.by_packed, square, about);
    check(turn, kept + 3, f.by_bias, n, about);
    check(turn, kept + 4, f.by_logs, n, about);
    if (!turn) add(f.by_packed, square), add(f.by_bias, n), add(f.by_logs, n);
    if (!(fabs(log_det) < 1e3)) wrong("the log-determinant is not finite", about);
    if (digest(0, inputs) != before) wrong("an input was written", about);
    free(f.scratch);
    give_back(inputs);
  }
  for (int i = 0; i < 5; i++) free(kept[i].from);
  free(permutation);
}

static void one_case(void) {
  a_mixture();
  give_back(0);
  a_fold();
}

int main(int arguments, char **argument) { return run_cases(arguments, argument, one_case); }
