/* What threads = 0 means on other machines: the program's fopen and sched_getaffinity take the place of the C
 * library's, also in the shared library. processors FOLDER PROCESSORS; FOLDER is what /sys/fs/cgroup is, and the
 * machine has so many processors, all of which this process may run on. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jadce/jadce.h"

static const char group[] = "/sys/fs/cgroup/";
static const char* folder;
static size_t machine;

FILE* fopen(const char* path, const char* mode) {
  char there[4096];
  if (strncmp(path, group, sizeof group - 1) == 0) {
    snprintf(there, sizeof there, "%s/%s", folder, path + sizeof group - 1);
    path = there;
  }
  const int file = open(path, O_RDONLY);
  return file < 0 ? NULL : fdopen(file, mode);
}

int sched_getaffinity(pid_t process, size_t size, cpu_set_t* set) {
  (void)process;
  if (8 * size < machine) {
    errno = EINVAL; /* as the kernel has it where the set is too short */
    return -1;
  }
  memset(set, 0, size);
  for (size_t i = 0; i < machine; ++i) CPU_SET_S(i, size, set);
  return 0;
}

int main(int count, char** words) {
  if (count != 3) return 2;
  folder = words[1];
  machine = strtoul(words[2], NULL, 10);
  static const float pilot[4][2] = {{1, 0}, {0, 1}, {1, 1}, {1, -2}};
  jadce_config config;
  jadce_config_init(&config);
  config.devices = 2, config.subcarriers = 1, config.symbols = 2, config.antennas = 1;
  config.pilots = &pilot[0][0];
  config.prior = "gaussian";
  jadce_plan* plan = NULL;
  jadce_sizes sizes;
  if (jadce_create(&config, &plan) != JADCE_OK || jadce_query(plan, &sizes) != JADCE_OK) {
    fprintf(stderr, "%s\n", jadce_last_error());
    return 1;
  }
  jadce_destroy(plan);
  printf("%d\n", sizes.threads);
  return 0;
}
