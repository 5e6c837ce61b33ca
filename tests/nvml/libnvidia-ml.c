/* A stand-in for NVIDIA's libnvidia-ml.so.1: the calls that Laycan's agent makes, answered from a control file.
 *
 * The file is named by LAYCAN_NVML_CONTROL, is read anew when it was replaced, and holds one answer per line:
 *
 *     <slot> <key> <value>
 *
 * slot   the card's place in the machine (its index is its rank among those there are), -1 for the node
 * key    a function, or the number of a field, followed by `.` and its scope, link or policy where that is not 0; `*`: all of the slot
 * value  what to answer; `!15` is the error 15; `~2.5` sleeps for 2.5 s first, and more of the value may follow
 *
 * What has no line is not supported; without the file the driver is not loaded. An event is `-1 event <number> <slot> <xid>`, with
 * numbers that rise. A line `-1 load <number>` with another number means that the driver was loaded anew: older sessions have ended.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    TIMEOUT = 10,
    ARGUMENT_VERSION_MISMATCH = 25,
} nvmlReturn_t;
enum { NODE = -1, SLOTS = 64, LINES = 8192, TEXT = 128, UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3, XID_CRITICAL = 8 };

typedef unsigned int uint;
typedef unsigned long long ull;
typedef struct { int slot; } *nvmlDevice_t;
typedef struct { ull slots; long seen; } *nvmlEventSet_t;
typedef union { double dVal; uint uiVal; unsigned long ulVal; ull ullVal; } nvmlValue_t;
typedef struct {
    uint fieldId, scopeId;
    long long timestamp, latencyUsec;
    uint valueType;
    nvmlReturn_t nvmlReturn;
    nvmlValue_t value;
} nvmlFieldValue_t;
typedef struct { uint gpu, memory; } nvmlUtilization_t;
typedef struct { ull referenceTime, violationTime; } nvmlViolationTime_t;
typedef struct { uint pid; ull usedGpuMemory; uint gpuInstanceId, computeInstanceId; } nvmlProcessInfo_v2_t;
typedef struct { nvmlDevice_t device; ull eventType, eventData; uint gpuInstanceId, computeInstanceId; } nvmlEventData_t;
typedef struct {
    uint version;
    unsigned char clusterUuid[16];
    nvmlReturn_t status;
    uint cliqueId, state, healthMask;
} nvmlGpuFabricInfo_v2_t;

#define SIZE_OF(type) const uint sizeof_##type = sizeof(type) /* a test compares it with pynvml's */
SIZE_OF(nvmlFieldValue_t);
SIZE_OF(nvmlUtilization_t);
SIZE_OF(nvmlViolationTime_t);
SIZE_OF(nvmlProcessInfo_v2_t);
SIZE_OF(nvmlEventData_t);
SIZE_OF(nvmlGpuFabricInfo_v2_t);

static struct { int slot; char key[64], value[TEXT]; } lines[LINES];
static struct { int slot; } cards[SLOTS];
static int count, sessions;
static long load; /* of the driver, that the sessions belong to */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* for all of these */

static void reread(void) {
    static FILE *file; /* stays open: nothing else can get its inode number */
    static ino_t last;
    struct stat now;
    const char *path = getenv("LAYCAN_NVML_CONTROL");
    if (!path || stat(path, &now)) now.st_ino = 0;
    if (now.st_ino == last) return;
    if (file) fclose(file);
    file = now.st_ino ? fopen(path, "r") : NULL;
    last = file && !fstat(fileno(file), &now) ? now.st_ino : 0;
    count = 0;
    if (!file) return;
    while (count < LINES && fscanf(file, "%d %63s %127[^\n]", &lines[count].slot, lines[count].key, lines[count].value) == 3) count++;
}

static int find(int slot, const char *key, char *value) {
    for (int i = 0; i < count; i++)
        if (lines[i].slot == slot && !strcmp(lines[i].key, key)) return strcpy(value, lines[i].value), 1;
    return 0;
}

/* Sleeps and fails as the value says, and leaves of it what follows. */
static nvmlReturn_t obey(char *value) {
    if (*value == '~') {
        char *rest;
        usleep((useconds_t)(strtod(value + 1, &rest) * 1e6));
        memmove(value, rest, strlen(rest) + 1);
    }
    return *value == '!' ? (nvmlReturn_t)atoi(value + 1) : SUCCESS;
}

static nvmlReturn_t answer(int slot, const char *key, char *value) {
    char node[TEXT] = "", card[TEXT] = "", loaded[TEXT] = "0";
    nvmlReturn_t failed;
    pthread_mutex_lock(&mutex);
    reread();
    int driver = count > 0, found = find(slot, key, value);
    find(NODE, "*", node);
    find(slot, "*", card);
    find(NODE, "load", loaded);
    int valid = (sessions && load == atol(loaded)) || !strcmp(key, "nvmlInitWithFlags");
    pthread_mutex_unlock(&mutex);
    if (!driver) return DRIVER_NOT_LOADED;
    if ((failed = obey(node)) || (slot != NODE && (failed = obey(card)))) return failed;
    return !valid ? UNINITIALIZED : found ? obey(value) : NOT_SUPPORTED;
}

static nvmlReturn_t text(int slot, const char *key, char *to, uint size) {
    char value[TEXT];
    nvmlReturn_t failed = answer(slot, key, value);
    if (!failed) snprintf(to, size, "%s", value);
    return failed;
}

static nvmlReturn_t number(nvmlDevice_t device, const char *key, uint part, ull *to) {
    char whole[TEXT], value[TEXT];
    snprintf(whole, sizeof whole, part ? "%s.%u" : "%s", key, part);
    nvmlReturn_t failed = answer(device->slot, whole, value);
    if (!failed) *to = strtoull(value, NULL, 10);
    return failed;
}

static nvmlReturn_t small(nvmlDevice_t device, const char *key, uint part, uint *to) {
    ull value;
    nvmlReturn_t failed = number(device, key, part, &value);
    if (!failed) *to = (uint)value;
    return failed;
}

#define STRING(name) nvmlReturn_t name(nvmlDevice_t device, char *to, uint size) { return text(device->slot, #name, to, size); }
STRING(nvmlDeviceGetUUID)
STRING(nvmlDeviceGetSerial)
STRING(nvmlDeviceGetBoardPartNumber)
STRING(nvmlDeviceGetName)

#define UNSIGNED(name) nvmlReturn_t name(nvmlDevice_t device, uint *to) { return small(device, #name, 0, to); }
UNSIGNED(nvmlDeviceGetCurrPcieLinkWidth)
UNSIGNED(nvmlDeviceGetMaxPcieLinkWidth)
UNSIGNED(nvmlDeviceGetCurrPcieLinkGeneration)
UNSIGNED(nvmlDeviceGetMaxPcieLinkGeneration)
UNSIGNED(nvmlDeviceGetEnforcedPowerLimit)

nvmlReturn_t nvmlInitWithFlags(uint flags) {
    char value[TEXT];
    nvmlReturn_t failed = flags ? INVALID_ARGUMENT : answer(NODE, "nvmlInitWithFlags", value);
    if (failed) return failed;
    pthread_mutex_lock(&mutex);
    sessions++;
    load = find(NODE, "load", value) ? atol(value) : 0;
    pthread_mutex_unlock(&mutex);
    return SUCCESS;
}

nvmlReturn_t nvmlShutdown(void) { return sessions ? sessions--, SUCCESS : UNINITIALIZED; }

const char *nvmlErrorString(nvmlReturn_t error) { return error ? "an error of the stand-in" : "success"; }

nvmlReturn_t nvmlSystemGetDriverVersion(char *to, uint size) { return text(NODE, "nvmlSystemGetDriverVersion", to, size); }

/* How many cards there are, and the slot of the index'th. */
static uint enumerate(uint index, int *slot) {
    char value[TEXT];
    uint found = 0;
    pthread_mutex_lock(&mutex);
    reread();
    for (int i = 0; i < SLOTS; i++)
        if (find(i, "nvmlDeviceGetHandleByIndex_v2", value) && found++ == index) *slot = i;
    pthread_mutex_unlock(&mutex);
    return found;
}

nvmlReturn_t nvmlDeviceGetCount_v2(uint *to) {
    char value[TEXT];
    int slot;
    nvmlReturn_t failed = answer(NODE, "nvmlDeviceGetCount_v2", value);
    if (!failed) *to = enumerate(0, &slot);
    return failed;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(uint index, nvmlDevice_t *device) {
    char value[TEXT];
    int slot = 0;
    if (index >= enumerate(index, &slot)) return INVALID_ARGUMENT;
    cards[slot].slot = slot;
    *device = (nvmlDevice_t)&cards[slot];
    return answer(slot, "nvmlDeviceGetHandleByIndex_v2", value);
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int size, nvmlFieldValue_t *fields) {
    char key[TEXT], value[TEXT];
    nvmlReturn_t failed = answer(device->slot, "nvmlDeviceGetFieldValues", value);
    for (nvmlFieldValue_t *field = fields; !failed && field < fields + size; field++) {
        snprintf(key, sizeof key, field->scopeId ? "%u.%u" : "%u", field->fieldId, field->scopeId);
        memset(&field->value, 0xff, sizeof field->value); /* nobody may rely on what the type does not cover */
        if ((field->nvmlReturn = answer(device->slot, key, value))) continue;
        ull known = strtoull(value, NULL, 10);
        field->valueType = strchr(value, 'u') ? UNSIGNED_INT : UNSIGNED_LONG_LONG;
        if (field->valueType == UNSIGNED_INT) field->value.uiVal = (uint)known;
        else field->value.ullVal = known;
    }
    return failed;
}

nvmlReturn_t nvmlDeviceGetViolationStatus(nvmlDevice_t device, uint policy, nvmlViolationTime_t *to) {
    return number(device, "nvmlDeviceGetViolationStatus", policy, &to->violationTime);
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, uint link, uint *to) {
    return small(device, "nvmlDeviceGetNvLinkState", link, to);
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *to) {
    return small(device, "nvmlDeviceGetUtilizationRates", 0, &to->gpu);
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfo_v2_t *to) {
    char value[TEXT];
    nvmlReturn_t failed = answer(device->slot, "nvmlDeviceGetGpuFabricInfoV", value);
    if (to->version != (sizeof *to | 2u << 24)) return ARGUMENT_VERSION_MISMATCH;
    if (!failed) sscanf(value, "%u %u", &to->state, &to->status);
    return failed;
}

static nvmlReturn_t processes(nvmlDevice_t device, const char *key, uint *size, nvmlProcessInfo_v2_t *to) {
    char value[TEXT], *rest = value;
    uint found = 0, room = *size;
    nvmlReturn_t failed = answer(device->slot, key, value);
    for (uint pid; !failed && (pid = (uint)strtoul(rest, &rest, 10)); found++)
        if (found < room) to[found] = (nvmlProcessInfo_v2_t){.pid = pid};
    *size = found;
    return failed ? failed : found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

#define PROCESSES(name) \
    nvmlReturn_t name(nvmlDevice_t device, uint *size, nvmlProcessInfo_v2_t *to) { return processes(device, #name, size, to); }
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3)

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, ull *to) {
    return number(device, "nvmlDeviceGetSupportedEventTypes", 0, to);
}

/* The next event of these slots after the number `seen`, which becomes its number; 0 if there is none. */
static int next(ull slots, long *seen, int *slot, ull *xid) {
    long event;
    int found = 0;
    pthread_mutex_lock(&mutex);
    reread();
    for (int i = 0; i < count && !found; i++)
        found = !strcmp(lines[i].key, "event") && sscanf(lines[i].value, "%ld %d %llu", &event, slot, xid) == 3 && event > *seen &&
                slots >> *slot & 1;
    pthread_mutex_unlock(&mutex);
    if (found) *seen = event;
    return found;
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    char value[TEXT];
    int slot;
    ull xid;
    nvmlReturn_t failed = answer(NODE, "nvmlEventSetCreate", value);
    if (failed) return failed;
    *set = calloc(1, sizeof **set);
    while (next(~0ull, &(*set)->seen, &slot, &xid)) continue; /* what happened before is nobody's event */
    return SUCCESS;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) { return free(set), SUCCESS; }

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, ull types, nvmlEventSet_t set) {
    char value[TEXT];
    nvmlReturn_t failed = answer(device->slot, "nvmlDeviceRegisterEvents", value);
    if (!failed && types == XID_CRITICAL) set->slots |= 1ull << device->slot;
    return failed;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, uint milliseconds) {
    char value[TEXT];
    int slot;
    ull xid;
    for (uint waited = 0;; waited += 2) {
        nvmlReturn_t failed = answer(NODE, "nvmlEventSetWait_v2", value);
        if (failed) return failed;
        if (next(set->slots, &set->seen, &slot, &xid)) {
            *data = (nvmlEventData_t){.device = (nvmlDevice_t)&cards[slot], .eventType = XID_CRITICAL, .eventData = xid};
            return SUCCESS;
        }
        for (slot = 0; slot < SLOTS; slot++)
            if (set->slots >> slot & 1 && (failed = answer(slot, "nvmlEventSetWait_v2", value))) return failed;
        if (waited >= milliseconds) return TIMEOUT;
        usleep(2000);
    }
}
