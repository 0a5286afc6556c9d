/* The instructions of tiles.h in plain C, for every processor and where sanitizers can see them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct {
  int on;
  uint32_t row[8][16][16];
} unit;

static void tile_wanted(void) {
  if (!unit.on) abort(); /* as a processor would: no sizes are set */
}
static void tile_load(int tile, const void *from, long bytes) {
  tile_wanted();
  for (int i = 0; i < 16; i++) memcpy(unit.row[tile][i], (const char *)from + i * bytes, 64);
}
static void tile_store(int tile, void *to, long bytes) {
  tile_wanted();
  for (int i = 0; i < 16; i++) memcpy((char *)to + i * bytes, unit.row[tile][i], 64);
}
static void tile_zero(int tile) {
  tile_wanted();
  memset(unit.row[tile], 0, sizeof unit.row[tile]);
}
static float tile_number(uint32_t bits) {
  float number;
  memcpy(&number, &bits, sizeof number);
  return number;
}
static void tile_add(int tile, int a, int b) {
  tile_wanted();
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 16; j++) {
      float sum = tile_number(unit.row[tile][i][j]);
      for (int k = 0; k < 16; k++) {
        uint32_t x = unit.row[a][i][k], y = unit.row[b][k][j];
        sum += tile_number(x << 16) * tile_number(y << 16);
        sum += tile_number(x & 0xffff0000u) * tile_number(y & 0xffff0000u);
      }
      memcpy(&unit.row[tile][i][j], &sum, sizeof sum);
    }
}
static void tiles_on(void) { unit.on = 1; }
static void tiles_off(void) { unit.on = 0; }
static int tiles_allowed(void) { return 1; }

#define USE_TILES
#define FENCE
#define TILE_LOAD tile_load
#define TILE_STORE tile_store
#define TILE_ZERO tile_zero
#define TILE_ADD tile_add
#define ROUND_TWO(to, one, two) (store_rounded(to, one), store_rounded((to) + LANES, two))
