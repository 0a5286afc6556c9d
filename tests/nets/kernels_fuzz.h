/* What the fuzzers of the kernels have in common: chance, memory, threads, what was wrong. */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers and memory ---- */

static uint64_t chance = 1;

static uint32_t next(void) {
  chance = chance * 6364136223846793005u + 1442695040888963407u;
  return chance >> 33;
}
static long between(long low, long high) { return low + next() % (high - low + 1); }
static inline float normal(void) {
  float sum = 0;
  for (int i = 0; i < 6; i++) sum += next() / 2147483648.f - .5f;
  return sum * 1.414f;
}

typedef struct {
  float *at, *memory;
  long count;
} Piece;

static Piece pieces[64];
static int used;

/* Exactly `count` floats, at times not where a vector would like them. */
static float *piece(long count) {
  long shift = between(0, 1);
  float *memory = malloc(sizeof(float) * (count + shift) + !(count + shift));
  pieces[used++] = (Piece){memory + shift, memory, count};
  return memory + shift;
}
static float *full_of(long count, float value) {
  float *at = piece(count);
  for (long i = 0; i < count; i++) at[i] = value;
  return at;
}
static float *drawn(long count, float scale) {
  float *at = piece(count);
  for (long i = 0; i < count; i++) at[i] = normal() * scale;
  return at;
}
static void give_back(int from) {
  while (used > from) free(pieces[--used].memory);
}
static uint64_t digest(int from, int to) {
  uint64_t sum = 14695981039346656037u;
  for (int i = from; i < to; i++)
    for (long b = 0; b < 4 * pieces[i].count; b++)
      sum = (sum ^ ((unsigned char *)pieces[i].at)[b]) * 1099511628211u;
  return sum;
}

/* ---- threads, as libgomp hands them out ---- */

static _Thread_local int me, team = 1;
typedef struct {
  void (*work)(void *);
  void *data;
  int me, team;
} Start;

static void *run(void *data) {
  Start *start = data;
  me = start->me, team = start->team;
  start->work(start->data);
  return 0;
}
static void parallel(void (*work)(void *), void *data, unsigned count, unsigned flags) {
  (void)flags;
  pthread_t thread[64];
  Start start[64];
  for (unsigned i = 1; i < count; i++) {
    start[i] = (Start){work, data, i, count};
    pthread_create(thread + i, 0, run, start + i);
  }
  start[0] = (Start){work, data, 0, count};
  run(start);
  me = 0, team = 1;
  for (unsigned i = 1; i < count; i++) pthread_join(thread[i], 0);
}
static int number(void) { return me; }
static int count(void) { return team; }

/* ---- results ---- */

typedef struct {
  float *from;
  long count;
} Copy;

static int same(const Copy *one, const float *other) {
  return !one->count || !memcmp(one->from, other, sizeof(float) * one->count);
}
static Copy copy(const float *from, long count) {
  Copy c = {malloc(sizeof(float) * count + 1), from ? count : 0};
  if (from) memcpy(c.from, from, sizeof(float) * count);
  return c;
}

static double seen; /* of gradients: the same, nearly, for every machine */
static const char *doing = "";
static long which;

static void wrong(const char *what, const char *about) {
  printf("case %ld, %s: %s\n  %s\n", which, doing, what, about);
  exit(1);
}

/* The same as in an earlier turn, and finite? The first turn keeps a copy. */
static void check(int turn, Copy *kept, const float *got, long count, const char *about) {
  for (long i = 0; got && i < count; i++)
    if (!(fabsf(got[i]) < 1e30f)) wrong("a number is not finite", about);
  if (!turn)
    *kept = copy(got, count);
  else if (!same(kept, got))
    wrong("numbers differ with what memory held, or threads", about);
}
static void add(const float *got, long count) {
  for (long i = 0; got && i < count; i++) seen += fabsf(got[i]) / count;
}

static int run_cases(int arguments, char **argument, void (*one_case)(void)) {
  long cases = arguments > 1 ? atol(argument[1]) : 300, start = arguments > 2 ? atol(argument[2]) : 0;
  for (which = start; which < start + cases; which++) {
    chance = 88172645463325252u + 7919u * which;
    for (int i = 0; i < 9; i++) next();
    one_case();
    give_back(0);
  }
  printf("%ld cases; gradients add up to %.5g\n", cases, seen);
  return 0;
}
