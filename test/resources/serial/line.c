// Gives pseudo-terminals what only a real serial line has: modem lines, breaks, framing, error counters. Preloaded into
// an unmodified program (LD_PRELOAD), it does so for each terminal that has a file in $FLEETCAT_LINES, named by its
// number under /dev/pts: all who have the file mapped share the line. What programs ask of it is written to `log` there.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

// By the kernel's numbers: <asm/termbits.h> does not go together with <termios.h>.
#define KERNEL_TCGETS2 0x802c542a
#define KERNEL_TCSETS2 0x402c542b
#define KERNEL_TCSETSW2 0x402c542c
#define KERNEL_TCSETSF2 0x402c542d
#define KERNEL_CMSPAR 010000000000
#define KERNEL_CBAUD 010017
#define KERNEL_BOTHER 010000
// What the kernel takes from every pseudo-terminal.
#define FRAMING (CSIZE | PARENB | PARODD | KERNEL_CMSPAR)

enum wiring { OPEN_ENDED, LOOPBACK, NULL_MODEM };

// As `lines.ts` reads and writes it.
struct line {
  uint32_t size;       // of this, so that both sides know that they mean the same
  uint32_t wiring;     // where the control lines lead
  uint32_t peer;       // with NULL_MODEM: the number of the terminal at the other end
  uint32_t control;    // TIOCM_DTR and TIOCM_RTS, as the program has set them
  uint32_t inputs;     // TIOCM_CTS, _DSR, _RI and _CD where nothing leads to them
  uint32_t breaking;   // a break is being sent
  uint32_t has_framing;
  uint32_t framing;    // the bits of c_cflag that the kernel has dropped
  uint32_t cflag;      // the whole of it, as it was asked for
  uint32_t no_modem;   // refuse modem lines and breaks, as a pseudo-terminal does by itself
  uint32_t frame, overrun, parity, breaks;
  uint32_t stuck;      // what is written stays unsent (TIOCOUTQ)
  uint32_t fastest;    // a higher speed becomes this one; 0: any can be had
  uint32_t strict;     // a higher speed is refused instead
};

static int (*real_ioctl)(int, unsigned long, ...);
static int (*real_tcsetattr)(int, int, const struct termios *);
static int (*real_tcgetattr)(int, struct termios *);
static int (*real_tcsendbreak)(int, int);
static int (*real_tcflush)(int, int);
static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static long (*real_syscall)(long, ...);

__attribute__((constructor)) static void find_real(void) {
  real_ioctl = dlsym(RTLD_NEXT, "ioctl");
  real_tcsetattr = dlsym(RTLD_NEXT, "tcsetattr");
  real_tcgetattr = dlsym(RTLD_NEXT, "tcgetattr");
  real_tcsendbreak = dlsym(RTLD_NEXT, "tcsendbreak");
  real_tcflush = dlsym(RTLD_NEXT, "tcflush");
  real_open = dlsym(RTLD_NEXT, "open");
  real_close = dlsym(RTLD_NEXT, "close");
  real_syscall = dlsym(RTLD_NEXT, "syscall");
}

static struct line *line_number(int number) {
  static struct line *known[4096];
  const char *directory = getenv("FLEETCAT_LINES");
  if (number < 0 || number >= 4096 || !directory) return NULL;
  if (known[number]) return known[number];
  char path[4096];
  snprintf(path, sizeof path, "%s/%d", directory, number);
  int fd = real_open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return NULL;
  void *mapped = mmap(NULL, sizeof(struct line), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  real_close(fd);
  if (mapped == MAP_FAILED || ((struct line *)mapped)->size != sizeof(struct line)) return NULL;
  return known[number] = mapped;
}

// The number of the terminal behind a descriptor: the program's end, not the master.
static int number_of(int fd) {
  struct stat stats;
  if (fstat(fd, &stats) != 0 || !S_ISCHR(stats.st_mode)) return -1;
  unsigned type = major(stats.st_rdev);
  return type >= 136 && type <= 143 ? (int)((type - 136) * 256 + minor(stats.st_rdev)) : -1;
}

static struct line *line_of(int fd) {
  int kept = errno;
  // The constructors of other libraries may come first.
  if (!real_syscall) find_real();
  int number = number_of(fd);
  struct line *line = number < 0 ? NULL : line_number(number);
  errno = kept;
  return line;
}

static void note(int fd, const char *format, ...) {
  char text[512];
  char path[4096];
  struct timespec now;
  int kept = errno;
  clock_gettime(CLOCK_REALTIME, &now);
  int length = snprintf(text, sizeof text, "%lld.%06ld %d pts/%d ", (long long)now.tv_sec, now.tv_nsec / 1000,
                        (int)getpid(), number_of(fd));
  va_list rest;
  va_start(rest, format);
  length += vsnprintf(text + length, sizeof text - length - 1, format, rest);
  va_end(rest);
  text[length++] = '\n';
  snprintf(path, sizeof path, "%s/log", getenv("FLEETCAT_LINES"));
  int log = real_open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (log >= 0) {
    if (write(log, text, length) < 0) abort();
    real_close(log);
  }
  errno = kept;
}

static uint32_t modem_bits(struct line *line) {
  uint32_t far = line->inputs;
  if (line->wiring == LOOPBACK) far = line->control;
  if (line->wiring == NULL_MODEM) {
    struct line *peer = line_number((int)line->peer);
    far = peer ? peer->control : 0;
  }
  if (line->wiring == OPEN_ENDED) return line->control | line->inputs;
  return line->control | (far & TIOCM_RTS ? TIOCM_CTS : 0) | (far & TIOCM_DTR ? TIOCM_DSR | TIOCM_CD : 0) |
         (line->inputs & TIOCM_RI);
}

static void set_control(int fd, struct line *line, uint32_t next) {
  next &= TIOCM_DTR | TIOCM_RTS;
  if (next == line->control) return;
  line->control = next;
  note(fd, "lines dtr=%d rts=%d", !!(next & TIOCM_DTR), !!(next & TIOCM_RTS));
}

static void set_break(int fd, struct line *line, int on) {
  note(fd, "break %s", on ? "on" : "off");
  struct line *far = line->wiring == LOOPBACK ? line : line->wiring == NULL_MODEM ? line_number((int)line->peer) : NULL;
  if (on && !line->breaking && far) far->breaks++;
  line->breaking = on;
}

static void timed_break(int fd, struct line *line, int ms) {
  set_break(fd, line, 1);
  usleep(ms * 1000);
  set_break(fd, line, 0);
}

// Flags and speeds stand at the same places in every form of the structure.
static void remember(int fd, struct line *line, const void *settings) {
  uint32_t cflag = ((const uint32_t *)settings)[2];
  if (line->has_framing && line->cflag == cflag) return;
  line->framing = cflag & FRAMING;
  line->cflag = cflag;
  line->has_framing = 1;
  note(fd, "framing data=%d parity=%s%s stop=%d rtscts=%d hupcl=%d", 5 + (int)((cflag & CSIZE) >> 4),
       !(cflag & PARENB) ? "none" : cflag & KERNEL_CMSPAR ? "stick-" : "",
       !(cflag & PARENB) ? "" : cflag & PARODD ? "odd" : "even", cflag & CSTOPB ? 2 : 1, !!(cflag & CRTSCTS),
       !!(cflag & HUPCL));
}

// What the device makes of a speed; 0: it refuses it.
static uint32_t speed_kept(struct line *line, uint32_t speed) {
  if (!line->fastest || speed <= line->fastest) return speed;
  return line->strict ? 0 : line->fastest;
}

static void recall(struct line *line, void *settings) {
  uint32_t *cflag = (uint32_t *)settings + 2;
  if (line->has_framing) *cflag = (*cflag & ~(uint32_t)FRAMING) | line->framing;
}

static int count_errors(struct line *line, struct serial_icounter_struct *counts) {
  memset(counts, 0, sizeof *counts);
  counts->frame = (int)line->frame;
  counts->overrun = (int)line->overrun;
  counts->parity = (int)line->parity;
  counts->brk = (int)line->breaks;
  return 0;
}

int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  struct line *line = line_of(fd);
  if (!line) return real_ioctl(fd, request, argument);
  uint32_t *bits = argument;
  // Some callers sign-extend the number.
  switch ((uint32_t)request) {
    case TIOCMGET: case TIOCMSET: case TIOCMBIS: case TIOCMBIC: case TIOCSBRK: case TIOCCBRK: case TIOCGICOUNT:
      if (line->no_modem) return errno = ENOTTY, -1;
      break;
    default:
      break;
  }
  switch ((uint32_t)request) {
    case TIOCMGET: *bits = modem_bits(line); return 0;
    case TIOCMSET: set_control(fd, line, *bits); return 0;
    case TIOCMBIS: set_control(fd, line, line->control | *bits); return 0;
    case TIOCMBIC: set_control(fd, line, line->control & ~*bits); return 0;
    case TIOCSBRK: set_break(fd, line, 1); return 0;
    case TIOCCBRK: set_break(fd, line, 0); return 0;
    case TCSBRK: if (argument == NULL) timed_break(fd, line, 250); return 0;
    case TCSBRKP: timed_break(fd, line, argument == NULL ? 250 : (int)(intptr_t)argument * 100); return 0;
    case TIOCGICOUNT: return count_errors(line, argument);
    case TIOCOUTQ:
      if (!line->stuck) break;
      *bits = line->stuck;
      return 0;
    case TCFLSH:
      note(fd, "flush %s", (intptr_t)argument == 0 ? "rx" : (intptr_t)argument == 1 ? "tx" : "both");
      if ((intptr_t)argument != 0) line->stuck = 0;
      break;
    case TCSETS: case TCSETSW: case TCSETSF:
    {
      int done = real_ioctl(fd, request, argument);
      if (done == 0) remember(fd, line, argument);
      return done;
    }
    case KERNEL_TCSETS2: case KERNEL_TCSETSW2: case KERNEL_TCSETSF2: {
      uint32_t next[11];
      memcpy(next, argument, sizeof next);
      uint32_t speed = speed_kept(line, next[10]);
      if (speed == 0) return errno = EINVAL, -1;
      if (speed != next[10]) {
        next[2] = (next[2] & ~(uint32_t)(KERNEL_CBAUD | KERNEL_CBAUD << 16)) | KERNEL_BOTHER;
        next[9] = next[10] = speed;
      }
      int done = real_ioctl(fd, request, next);
      if (done == 0) remember(fd, line, argument);
      return done;
    }
    case TCGETS: case KERNEL_TCGETS2: {
      int done = real_ioctl(fd, request, argument);
      if (done == 0) recall(line, argument);
      return done;
    }
  }
  return real_ioctl(fd, request, argument);
}

int tcsetattr(int fd, int actions, const struct termios *settings) {
  int done = real_tcsetattr(fd, actions, settings);
  struct line *line = line_of(fd);
  /* The C library looks whether a terminal has kept its framing, which is not the terminal's to keep here. */
  if (done < 0 && errno == EINVAL && line) done = 0;
  if (done == 0 && line) remember(fd, line, settings);
  return done;
}

int tcgetattr(int fd, struct termios *settings) {
  int done = real_tcgetattr(fd, settings);
  struct line *line = line_of(fd);
  if (done == 0 && line) recall(line, settings);
  return done;
}

int tcsendbreak(int fd, int duration) {
  struct line *line = line_of(fd);
  if (!line) return real_tcsendbreak(fd, duration);
  timed_break(fd, line, duration > 0 ? duration : 250);
  return 0;
}

int tcflush(int fd, int queue) {
  struct line *line = line_of(fd);
  if (line) note(fd, "flush %s", queue == TCIFLUSH ? "rx" : queue == TCOFLUSH ? "tx" : "both");
  return real_tcflush(fd, queue);
}

// How many descriptors of this process are open on the terminal.
static int uses(int number) {
  int count = 0;
  DIR *open_files = opendir("/proc/self/fd");
  if (!open_files) return 0;
  for (struct dirent *entry; (entry = readdir(open_files));) {
    if (number_of(atoi(entry->d_name)) == number && entry->d_name[0] != '.') count++;
  }
  closedir(open_files);
  return count;
}

static int opened(int fd) {
  struct line *line = fd < 0 ? NULL : line_of(fd);
  if (line && uses(number_of(fd)) == 1) {
    note(fd, "open");
    if (!line->no_modem) set_control(fd, line, TIOCM_DTR | TIOCM_RTS);
  }
  return fd;
}

#define OPEN(name, real_name)                                                                                        \
  int name(const char *path, int flags, ...) {                                                                       \
    va_list rest;                                                                                                    \
    va_start(rest, flags);                                                                                           \
    mode_t mode = va_arg(rest, mode_t);                                                                              \
    va_end(rest);                                                                                                    \
    if (!real_open) find_real();                                                                                     \
    return opened(real_open(path, flags | (real_name), mode));                                                       \
  }

OPEN(open, 0)
OPEN(open64, O_LARGEFILE)

int close(int fd) {
  struct line *line = line_of(fd);
  if (line) {
    int number = number_of(fd);
    if (uses(number) == 1) {
      if (line->cflag & HUPCL) set_control(fd, line, 0);
      note(fd, "close");
    }
  }
  return real_close(fd);
}

// Some close like this, past the library's function.
long syscall(long number, ...) {
  va_list rest;
  va_start(rest, number);
  long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long), d = va_arg(rest, long),
       e = va_arg(rest, long), f = va_arg(rest, long);
  va_end(rest);
  return number == SYS_close ? close((int)a) : real_syscall(number, a, b, c, d, e, f);
}
