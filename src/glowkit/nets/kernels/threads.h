/* Work in numbered jobs on the machine's threads. */
#include <stdint.h>

/* The machine's threads: `parallel(f, data, n, 0)` calls f(data) on n of them, as libgomp has it. */
typedef struct {
  void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
  int (*number)(void), (*count)(void);
} Threads;

typedef struct {
  const Threads *threads;
  void (*work)(void *, long);
  void *data;
  long jobs;
} Team;

static void member(void *data) {
  Team *team = data;
  long count = team->threads->count();
  for (long job = team->threads->number(); job < team->jobs; job += count)
    team->work(team->data, job);
}

/* work(data, job) for every job, on as many threads, or fewer: nothing depends on which. */
static void for_each(const Threads *threads, long jobs, long most_threads,
                     void (*work)(void *, long), void *data) {
  Team team = {threads, work, data, jobs};
  if (threads->parallel && most_threads > 1 && jobs > 1)
    threads->parallel(member, &team, (unsigned)(jobs < most_threads ? jobs : most_threads), 0);
  else
    for (long job = 0; job < jobs; job++) work(data, job);
}
