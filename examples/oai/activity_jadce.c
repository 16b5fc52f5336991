/* The module libactivity_jadce.so: activity detection by libjadce for OpenAirInterface's loader, --loader.activity.
 * shlibversion _jadce. JADCE_ACTIVITY names a text file of lines "KEY VALUE": devices, subcarriers, symbols, antennas,
 * rows (a file of int32 [T, N], DFT rows), prior (a file) and activity_rate. Every worker thread has a plan of its own,
 * so that slots of several workers are detected in parallel. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "activity_defs.h"
#include "jadce/jadce.h"

enum { MOST_WORKERS = 64 };

typedef struct {
  jadce_plan* plan;
  int16_t* block;  /* [M, T, N, 2] */
  float* activity; /* [K] */
  int32_t* active; /* [most_active] */
} worker_t;

static jadce_config config;
static jadce_sizes sizes;
static char prior[1024];
static int32_t* rows;
static worker_t workers[MOST_WORKERS];
static atomic_int worker_count;
static atomic_int start = 1;         /* its number grows with every shutdown, which threads may outlive */
static _Thread_local worker_t* mine; /* of the start `joined` */
static _Thread_local int joined;

static int32_t fail(const char* what, const char* why) {
  fprintf(stderr, "[ACTIVITY] %s: %s\n", what, why);
  return -1;
}

static int32_t read_rows(const char* path) {
  const size_t count = (size_t)config.symbols * (size_t)config.subcarriers;
  FILE* file = fopen(path, "rb");
  if (file == NULL) return fail(path, "expected a file of DFT rows");
  rows = calloc(count, sizeof *rows);
  const size_t found = rows == NULL ? 0 : fread(rows, sizeof *rows, count, file);
  fclose(file);
  config.pilot_rows = rows;
  return found == count ? 0 : fail(path, "expected a row of every symbol and subcarrier");
}

static int32_t read_config(const char* path) {
  char key[64], value[1024], rows_path[1024] = "";
  FILE* file = path == NULL ? NULL : fopen(path, "r");
  if (file == NULL) return fail("JADCE_ACTIVITY", "expected the name of a configuration");
  jadce_config_init(&config);
  prior[0] = '\0';
  while (fscanf(file, "%63s %1023s", key, value) == 2) {
    int32_t* const numbers[] = {&config.devices, &config.subcarriers, &config.symbols, &config.antennas};
    const char* const names[] = {"devices", "subcarriers", "symbols", "antennas"};
    for (int i = 0; i < 4; ++i)
      if (strcmp(key, names[i]) == 0) *numbers[i] = atoi(value);
    if (strcmp(key, "activity_rate") == 0) config.activity_rate = atof(value);
    if (strcmp(key, "prior") == 0) strcpy(prior, value);
    if (strcmp(key, "rows") == 0) strcpy(rows_path, value);
  }
  fclose(file);
  if (config.symbols < 1 || config.subcarriers < 1) return fail(path, "expected symbols and subcarriers");
  config.prior = prior;
  config.threads = 1; /* the gNB's own workers are the threads */
  return read_rows(rows_path);
}

/* Plans one receiver, so that a bad configuration is met before the first slot; workers plan theirs. */
int32_t activity_init(void) {
  jadce_plan* plan = NULL;
  if (read_config(getenv("JADCE_ACTIVITY")) != 0) return -1;
  if (jadce_create(&config, &plan) != JADCE_OK || jadce_query(plan, &sizes) != JADCE_OK)
    return fail("jadce_create", jadce_last_error());
  jadce_destroy(plan);
  printf("[ACTIVITY] libjadce %s, %d devices\n", jadce_version(), config.devices);
  return 0;
}

int32_t activity_init_thread(void) {
  if (joined == start) return 0;
  const int place = atomic_fetch_add(&worker_count, 1);
  if (place >= MOST_WORKERS) return fail("init_thread", "expected fewer workers");
  worker_t* const w = &workers[place];
  const size_t entries = (size_t)sizes.antennas * (size_t)sizes.symbols * (size_t)sizes.subcarriers;
  w->block = calloc(2 * entries, sizeof *w->block);
  w->activity = calloc((size_t)sizes.devices, sizeof *w->activity);
  w->active = calloc((size_t)sizes.most_active, sizeof *w->active);
  if (w->block == NULL || w->activity == NULL || w->active == NULL) return fail("init_thread", "expected more memory");
  if (jadce_create(&config, &w->plan) != JADCE_OK) return fail("jadce_create", jadce_last_error());
  mine = w;
  joined = start;
  return 0;
}

/* Gathers the pilots of one antenna, [T, N], from its grid. */
static void gather(const c16_t* grid, const activity_grid_t* at, int16_t* out) {
  for (int t = 0; t < sizes.symbols; ++t) {
    const c16_t* const symbol = grid + (size_t)(at->symbol + t) * (size_t)at->fft_size;
    for (int n = 0; n < sizes.subcarriers; ++n, out += 2) {
      const c16_t x = symbol[(at->first_carrier + n) % at->fft_size];
      out[0] = x.r;
      out[1] = x.i;
    }
  }
}

int32_t activity_compute(const c16_t* const* rxdataF, const activity_grid_t* grid, activity_report_t* report) {
  if (joined != start) return fail("compute", "expected init_thread before it");
  const int64_t symbols = sizes.symbols, subcarriers = sizes.subcarriers;
  for (int m = 0; m < sizes.antennas; ++m) gather(rxdataF[m], grid, mine->block + 2 * m * symbols * subcarriers);
  const jadce_block block = {mine->block, JADCE_INT16, 1.0f, {subcarriers, 1, symbols * subcarriers}};
  jadce_result result = {.activity = mine->activity, .active = mine->active};
  if (jadce_detect(mine->plan, &block, grid->noise_var, &result) != JADCE_OK)
    return fail("jadce_detect", jadce_last_error());
  report->found = result.found < report->most ? result.found : report->most;
  report->trusted = result.trusted && report->found == result.found;
  for (int i = 0; i < report->found; ++i) {
    report->device[i] = mine->active[i];
    report->probability[i] = mine->activity[mine->active[i]];
  }
  return 0;
}

int32_t activity_shutdown(void) {
  for (int i = 0; i < MOST_WORKERS; ++i) {
    jadce_destroy(workers[i].plan);
    free(workers[i].block);
    free(workers[i].activity);
    free(workers[i].active);
    workers[i] = (worker_t){0};
  }
  free(rows);
  rows = NULL;
  config = (jadce_config){0}; /* which init_thread would refuse */
  worker_count = 0;
  ++start;
  return 0;
}

/* The loader asks it, and ends the program if it returns -1. */
int activity_checkbuildver(char* main_version, char** own_version) {
  static char version[] = "1";
  (void)main_version;
  *own_version = version;
  return 0;
}
