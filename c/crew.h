// SPDX-License-Identifier: Apache-2.0
// crew.h - workers that serve as one: the sockets they share, the limit they share, and what is handed from
// one thread to another; called by listener.c, conn.c, reactor.c and thread.c.
//
// A service is an address that workers listen on. A member of it is one worker's reactor, a place is one
// worker for as long as it lives. One lock guards all of a crew; no turn takes it that accepts and closes
// nothing, and only those do that get sockets from another thread.
#ifndef MR_CREW_H
#define MR_CREW_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "reactor.h"

struct thread;

struct crew_worker {
  struct mr_crew *crew;
  uint32_t slot;
  atomic_uint state;          // mr_worker_state
  _Atomic uint64_t beat;      // ms; of the last turn
  uint32_t listeners;         // that its reactors have had
  struct mr_control counted;  // by reactors that are closed
};

struct crew_member {
  struct crew_member *next;  // of the same service
  struct crew_service *service;
  struct crew_worker *worker;
  struct mr_reactor *reactor;
  bool retired;          // its listener closes
  uint64_t handed_last;  // number of the socket that it was handed last
  atomic_uint handed;
  int fds[HANDED_MAX];
};

struct crew_service {
  struct crew_service *next;
  struct mr_crew *crew;
  struct mr_listen_options options;
  struct mr_socket_options tuning;
  struct sockaddr_storage address;
  socklen_t address_length;
  struct crew_member *members;
  bool orphaned;   // its last member has not closed it, but died: another one will come for what waits
  uint32_t limit;  // of connections, by the options of who came first
  atomic_uint connections;
  struct address_limit *addresses;  // NULL until somebody asks for it
  atomic_bool wanted;               // somebody waits for a connection to be closed
  // One socket for each slot, -1 where there is none; or the first alone, which the acceptor has.
  int fds[MR_CREW_SLOTS_MAX];
  bool handing;     // the acceptor runs, or has run
  bool stopping;    // it is to end
  int stop;         // eventfd
  uint64_t handed;  // sockets, to all members
  pthread_t acceptor;
  pthread_cond_t room;
};

struct mr_crew {
  struct mr_crew *next;  // of all
  const struct thread *opener;
  pthread_mutex_t joining;  // taken before the lock by those who join, who may have to look a name up
  pthread_mutex_t lock;
  uint32_t slots;
  uint32_t balance;
  bool draining;
  struct crew_service *services;
  struct crew_worker places[MR_CREW_PLACES];
};

// Makes a reactor a member of the service that these options name, which is opened when it is the first. Its
// listener is to be number 0. Returns a descriptor of its own for the socket, or -errno.
int crew_join(struct mr_reactor *r, const struct mr_listen_options *options,
              const struct mr_socket_options *tuning);

// The reactor's listener closes: it is handed nothing more.
void crew_retire(struct crew_member *member);

// The reactor closes. Does nothing when it is no member.
void crew_leave(struct mr_reactor *r);

// The worker's thread has ended.
void crew_worker_gone(struct crew_worker *worker);

// The thread that has opened crews has ended: nobody will replace their workers, and who connects is not to
// wait for that.
void crew_abandoned(const struct thread *opener);

// Whether another thread accepts for the members.
static inline bool crew_hands(const struct crew_member *member) {
  return member->service->handing;
}

// Whether what waits in the member's socket is for others to accept.
bool crew_serves_on(struct crew_member *member);

// Counts a connection, unless there are as many as may be: whoever is told so is woken once that changes.
bool crew_admit(struct crew_member *member);
bool crew_is_full(struct crew_member *member);
void crew_release(struct crew_member *member, uint32_t count);

static inline void crew_beat(struct crew_member *member, uint64_t now) {
  atomic_store_explicit(&member->worker->beat, now, memory_order_relaxed);
}

static inline bool crew_has_handed(struct crew_member *member) {
  return atomic_load(&member->handed) > 0;
}

// What counts the connections of addresses for all members; an address may have as many as the first has
// said. NULL for want of memory.
struct address_limit *crew_addresses(struct crew_member *member, uint32_t most);

// Takes at most capacity sockets that were accepted for the member.
uint32_t crew_take(struct crew_member *member, int *fds, uint32_t capacity);

// --- crew_accept.c, with the lock held

// Starts the thread that accepts for all members of a service. 0 or -errno.
int acceptor_start(struct crew_service *service);

// Ends it, once it has handed on what waits where that is wanted.
void acceptor_stop(struct crew_service *service);

// Accepts what waits in a socket for any member; returns how many. Gives the lock up while members that are
// full take what they have; what nobody has room for stays in the socket.
uint32_t acceptor_pass_on(struct crew_service *service, int fd);

// Gives what was handed to a member, which is not to be handed anything more, to others.
void acceptor_take_back(struct crew_member *member);

#endif
