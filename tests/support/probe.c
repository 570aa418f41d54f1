/* Says what a process in an agent's container sees. One verb a run, one answer on standard output:
 *
 *   tcp ADDRESS PORT            "open" and what the other side said first, or why there is no connection
 *   say ADDRESS PORT TEXT       the same after sending TEXT (\r and \n written as such)
 *   udp ADDRESS PORT TEXT       "answer: ...", or "silence"
 *   dns SERVER NAME TYPE        over UDP: "NOERROR 203.0.113.10", "NXDOMAIN", "silence", ...; TYPE: 1 = A, 28 = AAAA
 *   tls ADDRESS PORT NAME       a ClientHello with that server name: "answered", or "closed"
 *   hold ADDRESS PORT COUNT     "N": so many of COUNT connections at once that the other side does not close
 *   cat PATH | ls PATH | write PATH | listen PORT
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 2500 };

static socklen_t address_of(const char* text, int port, struct sockaddr_storage* out) {
  struct sockaddr_in* four = (struct sockaddr_in*)out;
  struct sockaddr_in6* six = (struct sockaddr_in6*)out;
  memset(out, 0, sizeof *out);
  if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons((unsigned short)port);
    return sizeof *four;
  }
  if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((unsigned short)port);
    return sizeof *six;
  }
  printf("not an address: %s\n", text);
  exit(2);
}

static int readable(int fd) {
  struct pollfd wait = {fd, POLLIN, 0};
  return poll(&wait, 1, WAIT_MS) == 1;
}

/* The connected socket; or prints why there is none and ends. */
static int connected(const char* address, const char* port) {
  struct sockaddr_storage to;
  const socklen_t size = address_of(address, atoi(port), &to);
  const int fd = socket(to.ss_family, SOCK_STREAM, 0);
  int problem = fd < 0 ? errno : 0;
  if (!problem) {
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, (struct sockaddr*)&to, size) != 0) problem = errno;
    if (problem == EINPROGRESS) {
      struct pollfd wait = {fd, POLLOUT, 0};
      socklen_t length = sizeof problem;
      if (poll(&wait, 1, WAIT_MS) != 1)
        problem = ETIMEDOUT;
      else
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &length);
    }
  }
  if (problem) {
    printf("%s\n", strerror(problem));
    exit(1);
  }
  fcntl(fd, F_SETFL, 0);
  return fd;
}

static void show_answer(int fd, const char* before) {
  char text[4096];
  const ssize_t got = readable(fd) ? read(fd, text, sizeof text) : 0;
  if (got > 0)
    printf("%s: %.*s\n", before, (int)got, text);
  else
    printf("%s\n", before);
}

static int udp_exchange(const char* address, int port, const void* out, size_t size, unsigned char* in, size_t room) {
  struct sockaddr_storage to;
  const socklen_t length = address_of(address, port, &to);
  const int fd = socket(to.ss_family, SOCK_DGRAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr*)&to, length) != 0 || send(fd, out, size, 0) < 0) {
    printf("%s\n", strerror(errno));
    exit(1);
  }
  if (!readable(fd)) return 0;
  const ssize_t got = recv(fd, in, room, 0);
  if (got < 0) {
    printf("%s\n", strerror(errno));
    exit(1);
  }
  return (int)got;
}

static void unescape(char* text) {
  char* to = text;
  for (char* from = text; *from; ++from) {
    if (from[0] == '\\' && (from[1] == 'r' || from[1] == 'n'))
      *to++ = *++from == 'r' ? '\r' : '\n';
    else
      *to++ = *from;
  }
  *to = 0;
}

static void dns(const char* server, const char* name, int type) {
  unsigned char query[512] = {0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, reply[2048];
  size_t at = 12;
  for (const char* label = name; *label;) {
    const size_t size = strcspn(label, ".");
    query[at++] = (unsigned char)size;
    memcpy(query + at, label, size);
    at += size;
    label += size + (label[size] == '.');
  }
  query[at++] = 0;
  query[at++] = 0;
  query[at++] = (unsigned char)type;
  query[at++] = 0;
  query[at++] = 1;
  const int got = udp_exchange(server, 53, query, at, reply, sizeof reply);
  if (got < 12) {
    printf("silence\n");
    return;
  }
  static const char* const codes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
  const int code = reply[3] & 15;
  printf("%s", code < 6 ? codes[code] : "?");
  size_t place = at; /* the question comes back first */
  for (int left = reply[6] << 8 | reply[7]; left > 0 && place + 12 <= (size_t)got; --left) {
    if ((reply[place] & 0xc0) == 0xc0)
      place += 2;
    else
      while (place < (size_t)got && reply[place++]) place += reply[place - 1];
    const int kind = reply[place] << 8 | reply[place + 1], size = reply[place + 8] << 8 | reply[place + 9];
    char text[INET6_ADDRSTRLEN];
    if ((kind == 1 && size == 4) || (kind == 28 && size == 16))
      printf(" %s", inet_ntop(kind == 1 ? AF_INET : AF_INET6, reply + place + 10, text, sizeof text));
    place += 10 + (size_t)size;
  }
  printf("\n");
}

/* TLS 1.2 ClientHello whose only extension that matters is the server name. */
static void tls(const char* address, const char* port, const char* name) {
  const size_t n = strlen(name);
  unsigned char hello[1024] = {0};
  size_t at = 9;
  hello[at++] = 3, hello[at++] = 3;
  memset(hello + at, 7, 32), at += 32; /* random */
  hello[at++] = 0;
  static const unsigned char rest[] = {0,    8, 0xc0, 0x2b, 0xc0, 0x2f, 0x00, 0x9c, 0x00, 0x2f, 1, 0};
  memcpy(hello + at, rest, sizeof rest), at += sizeof rest;
  static const unsigned char more[] = {0,  10, 0, 4, 0, 2, 0,   23, 0, 11, 0, 2, 1, 0,
                                       0, 13, 0, 6, 0, 4, 4, 1, 4,  3};
  const size_t extensions = (n ? 9 + n : 0) + sizeof more;
  hello[at++] = (unsigned char)(extensions >> 8), hello[at++] = (unsigned char)extensions;
  if (n) {
    const size_t sizes[] = {n + 5, n + 3};
    hello[at++] = 0, hello[at++] = 0;
    hello[at++] = (unsigned char)(sizes[0] >> 8), hello[at++] = (unsigned char)sizes[0];
    hello[at++] = (unsigned char)(sizes[1] >> 8), hello[at++] = (unsigned char)sizes[1];
    hello[at++] = 0, hello[at++] = (unsigned char)(n >> 8), hello[at++] = (unsigned char)n;
    memcpy(hello + at, name, n), at += n;
  }
  memcpy(hello + at, more, sizeof more), at += sizeof more;
  hello[0] = 22, hello[1] = 3, hello[2] = 1;
  hello[3] = (unsigned char)((at - 5) >> 8), hello[4] = (unsigned char)(at - 5);
  hello[5] = 1, hello[7] = (unsigned char)((at - 9) >> 8), hello[8] = (unsigned char)(at - 9);
  const int fd = connected(address, port);
  unsigned char reply[64];
  if (write(fd, hello, at) != (ssize_t)at || !readable(fd)) {
    printf("silence\n");
    return;
  }
  const ssize_t got = read(fd, reply, sizeof reply);
  printf("%s\n", got > 0 && reply[0] == 22 ? "answered" : got > 0 ? "alert" : "closed");
}

static void hold(const char* address, const char* port, int count) {
  struct pollfd all[1024];
  for (int i = 0; i < count; ++i) all[i] = (struct pollfd){connected(address, port), POLLIN, 0};
  /* Until nothing more happens for a while: nobody says anything, so whatever can be read is an end. */
  int ended = 0;
  while (poll(all, (nfds_t)count, WAIT_MS) > 0)
    for (int i = 0; i < count; ++i) {
      if (!all[i].revents) continue;
      ++ended;
      all[i].fd = -1;
      all[i].revents = 0;
    }
  printf("%d\n", count - ended);
}

int main(int count, char** args) {
  const char* verb = count > 1 ? args[1] : "";
  if (!strcmp(verb, "tcp") && count == 4) {
    show_answer(connected(args[2], args[3]), "open");
  } else if (!strcmp(verb, "say") && count == 5) {
    const int fd = connected(args[2], args[3]);
    unescape(args[4]);
    if (write(fd, args[4], strlen(args[4])) < 0) return 1;
    show_answer(fd, "open");
  } else if (!strcmp(verb, "udp") && count == 5) {
    unsigned char reply[512];
    const int got = udp_exchange(args[2], atoi(args[3]), args[4], strlen(args[4]), reply, sizeof reply);
    got > 0 ? printf("answer: %.*s\n", got, (char*)reply) : printf("silence\n");
  } else if (!strcmp(verb, "dns") && count == 5) {
    dns(args[2], args[3], atoi(args[4]));
  } else if (!strcmp(verb, "tls") && count == 5) {
    tls(args[2], args[3], args[4]);
  } else if (!strcmp(verb, "hold") && count == 5 && atoi(args[4]) <= 1000) {
    hold(args[2], args[3], atoi(args[4]));
  } else if (!strcmp(verb, "cat") && count == 3) {
    char text[65536];
    const int fd = open(args[2], O_RDONLY);
    if (fd < 0) return printf("%s\n", strerror(errno)), 1;
    for (ssize_t got; (got = read(fd, text, sizeof text)) > 0;) fwrite(text, 1, (size_t)got, stdout);
  } else if (!strcmp(verb, "ls") && count == 3) {
    DIR* folder = opendir(args[2]);
    if (!folder) return printf("%s\n", strerror(errno)), 1;
    for (struct dirent* entry; (entry = readdir(folder));) printf("%s\n", entry->d_name);
  } else if (!strcmp(verb, "write") && count == 3) {
    const int fd = open(args[2], O_WRONLY | O_CREAT, 0600);
    printf("%s\n", fd < 0 ? strerror(errno) : "written");
  } else if (!strcmp(verb, "listen") && count == 3) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(args[2]))};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr*)&here, sizeof here) != 0 || listen(fd, 8) != 0)
      return printf("%s\n", strerror(errno)), 1;
    printf("listening\n");
    fflush(stdout);
    if (fork() > 0) return 0;
    for (int i = 0; i < 3; ++i) close(i);
    for (;;) close(accept(fd, 0, 0));
  } else {
    printf("not understood\n");
    return 2;
  }
  return 0;
}
