/* What a step of flow is called with, and its sizes and tables of offsets. */
#include "product.h"
#include "tiles.h"
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
  int64_t low; /* whether the conditioner multiplies in bfloat16, by tiles */
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
  const float *by_y, *by_ladj; /* gradients of the results; null: 0 */
  const float *by_h;           /* NONE */
  float *by_x, *by_added;
  Gradients gradients;
} Call;

typedef struct {
  long pixels, taps, plane, step; /* of an image; of the last kernel; of a padded plane, its rows */
  long group, groups, most;       /* images of a group, groups, pixels of a group */
  long block, blocks;             /* pixels of a block, blocks of a group */
  long wide, panel;               /* hidden, in whole vectors; columns of a panel of hidden */
  long halo;                      /* pixels that the last convolution looks back */
  long spread1, spread3;          /* taps x channels of the first and last, in whole vectors */
  long columns;                   /* pixels of a group, in whole vectors */
  long layer;                     /* floats of hidden activations of a group */
  long seen1, seen3;              /* what taps see: taps x channels, in whole rows of tiles */
  long rows1, rows2, rows3;       /* of the sums of weights' gradients */
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
  p.wide = s->low ? deep(s->hidden) : whole(s->hidden);
  p.panel = least(PANEL, p.wide);
  p.halo = s->width + 1;
  p.spread1 = s->low ? side(9 * s->kept) : whole(9 * s->kept);
  p.spread3 = s->low ? side(p.taps * s->outputs) : whole(p.taps * s->outputs);
  p.columns = whole(p.most);
  p.layer = p.blocks * p.block * ((p.wide + p.panel - 1) / p.panel) * p.panel;
  p.seen1 = deep(9 * s->kept);
  p.seen3 = deep(9 * s->outputs);
  p.rows1 = 9 * s->kept;
  p.rows2 = s->hidden;
  p.rows3 = p.taps * s->outputs;
  if (s->low) {
    p.layer = p.blocks * deep(p.block) * p.wide / 2;
    p.rows1 = p.seen1 + CLASSES;
    p.rows2 = p.wide;
    p.rows3 = p.spread3;
  }
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
  int *place; /* of a pixel in a padded image, as pixels and not as planes */
} Tables;

static Tables tables(const Shape *s, const Plan *p, float **memory, int fill) {
  long all = most(most(deep(p->columns), p->wide), s->channels);
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
  t.start = (int *)take(memory, deep(p->most));
  t.added = (int *)take(memory, deep(p->block));
  t.place = (int *)take(memory, p->most);
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
        t.place[i] = g * p->plane + (y + 1) * p->step + x + 1;
      }
  for (; i < deep(p->most); i++) t.start[i] = 0;
  for (long c = 0; c < s->kept; c++)
    for (long a = 0; a < 9; a++) t.in_tap[c * 9 + a] = c * p->plane + a / 3 * p->step + a % 3;
  for (long c = 0; c < s->outputs; c++)
    for (long a = 0; a < p->taps; a++)
      t.out_tap[c * p->taps + a] =
          c * p->plane + (p->taps == 1 ? p->step + 1 : (2 - a / 3) * p->step + 2 - a % 3);
  for (i = 0; i < p->block; i++) t.hidden_pixel[i] = i * p->panel;
  for (i = 0; i < deep(p->block); i++) t.added[i] = i < p->block ? i * p->wide : 0;
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
