/* Random small shapes through every function of step.c, for the sanitizers of a compiler.

   Every tensor that a caller owns is a piece of memory of exactly its size; what the caller lends
   is full of NaN or of large numbers before each call. Seen are: reads and writes over the end,
   results that depend on what memory held before or on which thread did what, inputs that are
   written, an inverse that is none.

       cc -std=gnu11 -g -O1 -fsanitize=address,undefined -fno-sanitize=pointer-overflow \
          -mavx2 -mfma -o fuzz tests/nets/kernels_fuzz.c -lm -lpthread && ./fuzz 300

   `make sanitize` does it for each instruction set, with STEP a copy of step.c and headers, whose `take` and
   `sums_in` are `take_plain` and `sums_plain`: there then are walls between the pieces of scratch
   and packs too. */
#include "tiles_by_hand.h"
#ifdef STEP
static _Thread_local int in_a_row; /* the sums of gradients are one row as well */
static float *take(float **from, long floats);
#define sums_in(...) ({ in_a_row = 1; Sums made = sums_plain(__VA_ARGS__); in_a_row = 0; made; })
#include STEP
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)
#endif
enum { WALL = 64 };

static const float *lent[2], *lent_end[2]; /* packs, scratch; outside there are sums of sizes only */

static float *take(float **from, long floats) {
  float *here = take_plain(from, floats), *wall = *from;
  *from += WALL;
  for (int i = 0; i < 2 && !in_a_row; i++)
    if (lent[i] && wall >= lent[i] && wall + WALL <= lent_end[i])
      ASAN_POISON_MEMORY_REGION(wall, sizeof(float[WALL]));
  return here;
}
static void lend(int which, const float *at, long floats) {
  lent[which] = at;
  lent_end[which] = at + floats;
}
#else
#include "../../src/glowkit/nets/kernels/step.c"
static void lend(int which, const float *at, long floats) { (void)which, (void)at, (void)floats; }
#endif
#include "kernels_fuzz.h"

/* ---- a case ---- */

static const char *words(const Shape *s) {
  static char text[400];
  const long *at = (const long *)s;
  sprintf(text, "images %ld channels %ld height %ld width %ld kept %ld outputs %ld hidden %ld"
          " last %ld mixes %ld transform %ld context %ld low %ld jobs %ld", at[0], at[1], at[2], at[3],
          at[4], at[5], at[6], at[7], at[8], at[9], at[10], at[11], at[12]);
  return text;
}

static void packs_of(Call *call, int64_t part, float rubbish) {
  long floats = glow_packs(&call->shape);
  call->packs = full_of(floats, rubbish);
  lend(0, call->packs, floats);
  glow_pack(call, part);
}
static void scratch_of(Call *call, int backward, float rubbish) {
  long floats = glow_scratch(&call->shape, backward);
  call->scratch = full_of(floats, rubbish);
  lend(1, call->scratch, floats);
}

static void one_case(void) {
  Shape s = {.images = between(1, 6), .height = between(1, 12), .width = between(1, 12)};
  if (between(0, 9) == 0) s.height = between(12, 40), s.width = between(12, 40);
  s.mixes = between(0, 2) > 0;
  s.transform = s.mixes ? between(0, 2) : NONE;
  s.channels = between(s.mixes ? 2 : 1, between(0, 1) ? 8 : 50);
  s.kept = !s.mixes ? s.channels : between(0, 2) ? most(1, s.channels / 2) : between(1, s.channels - 1);
  long moved = s.channels - s.kept, n = s.images, HW = s.height * s.width, c = s.channels;
  s.outputs = s.transform == NONE ? between(1, 50) : s.transform == AFFINE ? 2 * moved : moved;
  s.hidden = between(0, 4) ? between(1, 40) : between(41, 140);
  s.last = between(0, 1) ? 3 : 1;
  s.low = s.last == 3 && between(0, 2) == 0;
  s.jobs = between(1, 4);
  int added = between(0, 2), keep = between(0, 2), mixes = s.mixes, last = s.last == 3;
  s.context = added == 2 ? s.hidden : 0;
  Call call = {.shape = s};
  if (between(0, 1)) call.threads = (Threads){parallel, number, count};
  const long size[13] = {s.hidden * s.kept * 9, s.hidden * 9, s.hidden, s.hidden,
                         s.hidden * s.hidden, s.hidden, s.hidden,
                         s.outputs * s.hidden * s.last * s.last, last ? s.outputs * 9 : 0,
                         s.outputs, s.outputs, mixes ? c * c : 0, mixes ? c : 0};
  const float **parameter = (const float **)&call.parameters;
  for (int i = 0; i < 13; i++)
    parameter[i] = size[i] ? drawn(size[i], i == 0 || i == 4 || i == 7 ? .1f : .2f) : 0;
  long xs = n * c * HW, hs = n * s.outputs * HW;
  call.x = drawn(xs, 1);
  if (mixes) { /* a reflection, which is its own inverse */
    float *A = (float *)call.parameters.matrix, v[64], norm = 0;
    for (long i = 0; i < c; i++) v[i] = normal() + .1f, norm += v[i] * v[i];
    for (long i = 0; i < c; i++)
      for (long j = 0; j < c; j++) A[i * c + j] = (i == j) - 2 * v[i] * v[j] / norm;
  }
  long as = added == 0 ? 0 : added == 1 ? n * s.hidden : n * HW * s.hidden;
  call.added = as ? drawn(as, .3f) : 0;
  float *by_y = mixes && between(0, 3) ? drawn(xs, 1) : 0;
  float *by_ladj = between(0, 3) ? drawn(n, 1) : 0, *by_h = drawn(hs, 1);
  int inputs = used;
  uint64_t before = digest(0, inputs);
  Call first = call;
  Copy results[3], gradients[15];
  for (int turn = 0; turn < 2; turn++) {
    call = first;
    float rubbish = turn ? 3e38f : NAN;
    if (turn) call.threads = (Threads){0, 0, 0};
    doing = "forward";
    packs_of(&call, 1, rubbish);
    scratch_of(&call, 0, rubbish);
    call.y = mixes ? full_of(xs, rubbish) : 0;
    call.ladj = s.transform == NONE ? 0 : full_of(n, rubbish);
    long kept_h = s.transform == NONE ? hs : s.transform == AFFINE && keep ? n * moved * HW : 0;
    call.h = kept_h ? full_of(kept_h, rubbish) : 0;
    if (keep == 2) {
      call.h1 = full_of(glow_hidden(&s), rubbish);
      call.h2 = full_of(glow_hidden(&s), rubbish);
    }
    glow_forward(&call);
    const float *result[3] = {call.y, call.ladj, call.h};
    const long length[3] = {xs, n, kept_h};
    for (int i = 0; i < 3; i++) check(turn, results + i, result[i], length[i], words(&s));
    if (s.transform != NONE) {
      doing = "inverse";
      Call back = call;
      float *shift = full_of(c, 0);
      for (long i = 0; i < c; i++)
        for (long j = 0; j < c; j++)
          shift[i] -= call.parameters.matrix[i * c + j] * call.parameters.shift[j];
      back.parameters.shift = shift;
      back.x = call.y;
      back.y = full_of(xs, rubbish);
      back.ladj = full_of(n, rubbish);
      back.h = back.h1 = back.h2 = 0;
      packs_of(&back, 1, rubbish);
      scratch_of(&back, 0, rubbish);
      glow_inverse(&back);
      for (long i = 0; i < xs; i++)
        if (!(fabsf(back.y[i] - call.x[i]) < 1e-2f)) wrong("the inverse is none", words(&s));
      for (long i = 0; i < n; i++)
        if (!(fabsf(back.ladj[i] + call.ladj[i]) < 1e-3f * (10 + fabsf(call.ladj[i]))))
          wrong("the inverse's ladj is not the other's", words(&s));
    }
    if (keep || s.transform != AFFINE) {
      doing = "backward";
      packs_of(&call, call.h1 ? 2 : 3, rubbish);
      scratch_of(&call, 1, rubbish);
      call.by_y = by_y, call.by_ladj = s.transform == NONE ? 0 : by_ladj;
      call.by_h = s.transform == NONE ? by_h : 0;
      float **to = (float **)&call.gradients;
      for (int i = 0; i < 13; i++) to[i] = size[i] ? full_of(size[i], rubbish) : 0;
      call.by_x = full_of(xs, rubbish);
      call.by_added = as ? full_of(as, rubbish) : 0;
      glow_backward(&call);
      for (int i = 0; i < 15; i++) {
        const float *got = i < 13 ? to[i] : i == 13 ? call.by_x : call.by_added;
        long length = i < 13 ? size[i] : i == 13 ? xs : as;
        check(turn, gradients + i, got, length, words(&s));
        if (!turn) add(got, length);
      }
      for (int i = 0; turn && i < 15; i++) free(gradients[i].from);
    }
    doing = "";
    lend(0, 0, 0), lend(1, 0, 0);
    if (digest(0, inputs) != before) wrong("an input was written", words(&s));
    give_back(inputs);
  }
  for (int i = 0; i < 3; i++) free(results[i].from);
}

int main(int arguments, char **argument) { return run_cases(arguments, argument, one_case); }
