/* SPDX-License-Identifier: Apache-2.0
 * wake.pml - the queue of c/queue.h and the wake-up of c/mailbox.c as a model, of which Spin visits every
 * state; run by tests/wake_model_test.ts.
 *
 * Two threads post, and one reader turns, sleeps and is woken. Memory is that of a processor on which stores
 * are late: what a thread writes waits in a buffer of its own, from which it drains in order and at any time.
 * A fence waits until that is empty; an atomic read-modify-write acts on memory at once.
 *
 * What has to hold:
 *   - each message that the queue has taken reaches the reader once, and behind all that the same thread had
 *     posted before (assertions in reader);
 *   - a reader that sleeps for ever has nothing left to read (assertion in reader);
 *   - a reader is sent at most one byte for each time that it goes to sleep (assertion in producer).
 *
 * Each of these takes something away, and a fault has to be found then:
 *   POST_WITHOUT_FENCE     who posts looks for a sleeper while the slot is not filled for others to see
 *   SLEEP_WITHOUT_FENCE    the reader looks into its queue while others do not see yet that it sleeps
 *   SLEEP_WITHOUT_LOOK     the reader does not look again
 *   WAKE_WITHOUT_EXCHANGE  who sees a sleeper wakes it, though another one may have done so
 *   FILL_BEFORE_WRITING    a slot counts as filled before its item is there
 *   EMPTY_BEFORE_READING   a slot counts as empty before its item was taken out
 */

#define PRODUCERS 2
#define READER PRODUCERS
#define MESSAGES 2 /* of each producer */
#define SLOTS 2    /* so that the queue is full at times, and each slot is used anew */
#define POSTED (PRODUCERS * MESSAGES)

/* Words of memory. */
#define SEQUENCE(position) ((position) % SLOTS)
#define ITEM(position) (SLOTS + (position) % SLOTS)
#define ASLEEP (2 * SLOTS)
#define WORDS (2 * SLOTS + 1)

byte memory[WORDS];
byte tail; /* changed by compare-and-swap alone, so that it is never late */

/* Stores under way of each thread. */
#define LATE_MAX 4
chan late[PRODUCERS + 1] = [LATE_MAX] of { byte, byte };

byte finished; /* producers */
byte accepted; /* messages that the queue has taken */
byte received;
byte sleeps;   /* times that the reader began to sleep */
byte sent;     /* wake-up bytes */
byte socket;   /* those of them that nobody has read */

#define store(thread, word, value) late[thread] ! word, value
#define fence(thread) empty(late[thread])

/* The first of a thread's late stores arrives. */
proctype arrivals(byte thread) {
  byte word, value;
end:
  do
  :: atomic { late[thread] ? word, value -> memory[word] = value }
  od
}

/* Items are numbered: a thread's first, second, ... */
#define item(thread, number) ((thread) * MESSAGES + (number) + 1)

/* queue_push and what follows it in mr_mailbox_post. A post that the queue refuses is given up. */
proctype producer(byte me) {
  byte number, at, sequence;
  do
  :: number == MESSAGES -> break
  :: else ->
    at = tail;
claim:
    sequence = memory[SEQUENCE(at)];
    if
    :: sequence < at -> goto next /* full */
    :: sequence > at -> at = tail; goto claim
    :: else ->
      if
      :: atomic { tail == at -> tail = at + 1; accepted++ }
      :: atomic { tail != at -> at = tail }; goto claim
      fi
    fi;
#ifdef FILL_BEFORE_WRITING
    store(me, SEQUENCE(at), at + 1);
    store(me, ITEM(at), item(me, number));
#else
    store(me, ITEM(at), item(me, number));
    store(me, SEQUENCE(at), at + 1);
#endif
#ifndef POST_WITHOUT_FENCE
    fence(me);
#endif
    if
    :: memory[ASLEEP] == 0
    :: else ->
      if
#ifdef WAKE_WITHOUT_EXCHANGE
      :: atomic { memory[ASLEEP] = 0; socket++; sent++ }
#else
      :: atomic { memory[ASLEEP] == 1 -> memory[ASLEEP] = 0 }; atomic { socket++; sent++ }
      :: memory[ASLEEP] == 0
#endif
      fi;
      assert(sent <= sleeps)
    fi;
next:
    number++
  od;
  finished++
}

byte head;
byte number_of[PRODUCERS]; /* of the next item from each, at the least */

/* mailbox_turn, mailbox_sleep, and what wakes Deno. */
proctype reader() {
  byte got, from;
  do
  :: if
    :: memory[ASLEEP] != 0 -> store(READER, ASLEEP, 0)
    :: else
    fi;
    do
    :: memory[SEQUENCE(head)] != head + 1 -> break
    :: else ->
#ifdef EMPTY_BEFORE_READING
      store(READER, SEQUENCE(head), head + SLOTS);
      got = memory[ITEM(head)];
#else
      got = memory[ITEM(head)];
      store(READER, SEQUENCE(head), head + SLOTS);
#endif
      atomic {
        assert(got > 0 && got <= POSTED);
        from = (got - 1) / MESSAGES;
        assert((got - 1) % MESSAGES >= number_of[from]);
        number_of[from] = (got - 1) % MESSAGES + 1;
        received++;
        head++;
        got = 0
      }
    od;
    atomic { store(READER, ASLEEP, 1); sleeps++ };
#ifndef SLEEP_WITHOUT_FENCE
    fence(READER);
#endif
#ifndef SLEEP_WITHOUT_LOOK
    if
    :: memory[SEQUENCE(head)] == head + 1 -> goto again
    :: else
    fi;
#endif
    /* Deno sleeps until the wake socket is readable, and reads all of it. */
    if
    :: atomic { socket > 0 -> socket = 0 }
    :: atomic {
        /* Nobody will ever wake it. */
        finished == PRODUCERS && socket == 0 && empty(late[0]) && empty(late[1]) && empty(late[2]) ->
        assert(received == accepted);
        goto over
      }
    fi;
again:
    skip
  od;
over:
  skip
}

init {
  atomic {
    byte i;
    for (i : 0 .. SLOTS - 1) { memory[SEQUENCE(i)] = i }
    for (i : 0 .. PRODUCERS) { run arrivals(i) }
    for (i : 0 .. PRODUCERS - 1) { run producer(i) }
    run reader()
  }
}
