/* Another program that does the same work, and is asked for its time line by line. */
#ifndef SAMPO_BENCHES_PEER_H
#define SAMPO_BENCHES_PEER_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

typedef struct peer {
    char name[64]; /* what its first line says */
    FILE *to, *from;
    pid_t process;
} peer;

/* Starts `python script argument`; false: it cannot be started, or has ended without a line, as where what it needs is
 * not installed. */
bool peer_begin(peer *p, const char *python, const char *script, const char *argument);
/* The seconds that it answers to a question; below 0: it has no answer. */
double peer_ask(peer *p, const char *question);
void peer_end(peer *p);

#endif
