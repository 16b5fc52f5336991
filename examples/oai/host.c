/* Loads a module as OpenAirInterface does (common/utils/load_module_shlib.c): lib<name><version>.so by dlopen, its
 * <name>_checkbuildver, then functions by name; two workers detect in one slot each. For trying modules without a gNB:
 *   host FOLDER VERSION GRID ANTENNAS SYMBOLS FFT_SIZE FIRST_CARRIER FIRST_SYMBOL NOISE_VAR
 * with GRID a file of int16 [antennas, symbols, fft_size, 2]. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "activity_defs.h"

enum { MOST = 4096, WORKERS = 2 };

typedef struct {
  const c16_t* const* antennas;
  activity_grid_t grid;
  activity_report_t report;
  int32_t device[MOST];
  float probability[MOST];
  int32_t status;
} slot_t;

static struct {
  activity_init_t* init;
  activity_init_thread_t* init_thread;
  activity_compute_t* compute;
  activity_shutdown_t* shutdown;
} module;

// POSIX, not ISO C, says that a symbol may be a function: it is stored where the pointer to the function lies.
static int find(void* library, const char* name, void* function) {
  void* const symbol = dlsym(library, name);
  if (symbol == NULL) fprintf(stderr, "[LOADER] %s\n", dlerror());
  memcpy(function, &symbol, sizeof symbol);
  return symbol != NULL;
}

static int load(const char* folder, const char* version) {
  char path[4096], *own = NULL;
  snprintf(path, sizeof path, "%s/libactivity%s.so", folder, version);
  void* const library = dlopen(path, RTLD_LAZY | RTLD_NODELETE | RTLD_GLOBAL);
  if (library == NULL) {
    fprintf(stderr, "[LOADER] %s\n", dlerror());
    return -1;
  }
  int (*check)(char*, char**);
  char build[] = "host";
  if (find(library, "activity_checkbuildver", &check) && check(build, &own) != 0) return -1;
  printf("[LOADER] library %s successfully loaded, version %s\n", path, own == NULL ? "unknown" : own);
  return find(library, "activity_init", &module.init) && find(library, "activity_init_thread", &module.init_thread) &&
                 find(library, "activity_compute", &module.compute) &&
                 find(library, "activity_shutdown", &module.shutdown)
             ? 0
             : -1;
}

static void* work(void* context) {
  slot_t* const slot = context;
  slot->report = (activity_report_t){.most = MOST, .device = slot->device, .probability = slot->probability};
  slot->status = module.init_thread();
  for (int i = 0; i < 2 && slot->status == 0; ++i)
    slot->status = module.compute(slot->antennas, &slot->grid, &slot->report);
  return NULL;
}

int main(int count, char** words) {
  if (count != 10 || load(words[1], words[2]) != 0) return 2;
  const size_t antennas = strtoul(words[4], NULL, 10);
  const size_t each = strtoul(words[5], NULL, 10) * strtoul(words[6], NULL, 10);
  c16_t* const grid = calloc(antennas * each, sizeof *grid);
  const c16_t** const start = calloc(antennas, sizeof *start);
  FILE* const file = fopen(words[3], "rb");
  if (grid == NULL || start == NULL || file == NULL ||
      fread(grid, sizeof *grid, antennas * each, file) != antennas * each)
    return 2;
  fclose(file);
  for (size_t m = 0; m < antennas; ++m) start[m] = grid + m * each;

  static slot_t slots[WORKERS];
  pthread_t threads[WORKERS];
  int32_t status = module.init();
  if (status != 0) return 1;
  for (int w = 0; w < WORKERS; ++w) {
    slots[w].antennas = start;
    slots[w].grid = (activity_grid_t){atoi(words[6]), atoi(words[7]), atoi(words[8]), (float)atof(words[9])};
    pthread_create(&threads[w], NULL, work, &slots[w]);
  }
  for (int w = 0; w < WORKERS; ++w) {
    pthread_join(threads[w], NULL);
    status |= slots[w].status;
    printf("%d %d", w, slots[w].report.trusted);
    for (int i = 0; i < slots[w].report.found; ++i)
      printf(" %d %.9g", slots[w].device[i], (double)slots[w].probability[i]);
    printf("\n");
  }
  status |= module.shutdown();
  free(grid);
  free(start);
  return status != 0;
}
