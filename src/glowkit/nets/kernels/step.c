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
#include "plan.h"
#include "rounded.h"
#include "packs.h"
#include "work.h"
#include "tiled.h"
#include "group.h"
#include "gradients.h"

/* ---- forward and inverse ------------------------------------------------------------------------ */

static void forward_job(void *data, long job) {
  const Pass *pass = data;
  const Call *call = pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &pass->plan;
  Work w = job_memory(pass, job, 0);
  if (s->low) tiles_on();
  long first, end, c = s->channels, moved = c - s->kept, HW = p->pixels;
  groups_of(pass, job, &first, &end);
  for (long group = first; group < end; group++) {
    long image = group * p->group, images = least(p->group, s->images - image);
    const float *x = call->x + image * c * HW;
    planes(p, c, images, x, w.x);
    float *z = w.x;
    if (s->mixes) mix(pass, pass->matrix, pass->shift, w.x, z = w.z);
    lay(pass, z, s->kept, images, w.in);
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
  if (s->low) tiles_off();
}

static void inverse_job(void *data, long job) {
  const Pass *pass = data;
  const Call *call = pass->call;
  const Shape *s = &call->shape;
  const Plan *p = &pass->plan;
  Work w = job_memory(pass, job, 0);
  if (s->low) tiles_on();
  long first, end, c = s->channels, HW = p->pixels;
  groups_of(pass, job, &first, &end);
  for (long group = first; group < end; group++) {
    long image = group * p->group, images = least(p->group, s->images - image);
    planes(p, c, images, call->x + image * c * HW, w.x);
    lay(pass, w.x, s->kept, images, w.in);
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
  if (s->low) tiles_off();
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

int64_t glow_version(void) { return 2; }

/* Whether a shape may be `low`. */
int64_t glow_tiles(void) { return tiles_allowed(); }

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
