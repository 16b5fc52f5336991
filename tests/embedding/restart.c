/* The module of OpenAirInterface, started again and again by a thread that outlives its shutdowns: restart GRID
 * NOISE_VAR, where GRID is int16 [4, 14, 64, 2] with pilots from symbol 2 and subcarrier 40 on. Prints what every start
 * has found. */
#include <stdio.h>
#include <stdlib.h>

#include "../../examples/oai/activity_defs.h"

enum { M = 4, SIZE = 14 * 64, MOST = 256, STARTS = 70 }; /* more than the module has places for workers */

static c16_t grid[M][SIZE];
static int32_t device[MOST];
static float probability[MOST];

int main(int count, char** words) {
  FILE* const file = count == 3 ? fopen(words[1], "rb") : NULL;
  if (file == NULL || fread(grid, sizeof grid, 1, file) != 1) return 2;
  fclose(file);
  const c16_t* const antennas[M] = {grid[0], grid[1], grid[2], grid[3]};
  const activity_grid_t at = {64, 40, 2, (float)atof(words[2])};
  activity_report_t report = {.most = MOST, .device = device, .probability = probability};
  for (int start = 0; start < STARTS; ++start) {
    if (activity_compute(antennas, &at, &report) != -1 || activity_init_thread() != -1) return 3; /* not started */
    if (activity_init() != 0 || activity_init_thread() != 0 || activity_init_thread() != 0) return 4;
    if (activity_compute(antennas, &at, &report) != 0) return 5;
    for (int i = 0; i < report.found; ++i) printf("%d ", device[i]);
    printf("\n");
    if (activity_shutdown() != 0) return 6;
  }
  return 0;
}
