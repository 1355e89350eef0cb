// SPDX-License-Identifier: Apache-2.0
// workers_server.ts - a server on many workers: starts them, replaces those that die or stall, and sums up what they
// count; made by workers.ts.

import {
  addCounters,
  type BackendName,
  Crew,
  type ReactorCounters,
  readCounters,
  type RegistryStatistics,
} from "../ffi/mod.ts";
import {
  checkShutdown,
  type RunningServer,
  type ShutdownOptions,
  type ShutdownReport,
} from "./listening_server.ts";
import { MailOffice, type MailStatistics } from "./mail_office.ts";
import { type SocketFile, socketFileOf } from "./socket_file.ts";
import { type ServerStatistics, Tally } from "./statistics.ts";
import { SharedExecutor, type WorkersExecutor } from "./workers_executor.ts";
import type { MailNote } from "./worker_mail.ts";
import { Member, type Ready } from "./workers_member.ts";
import type {
  ReloadOptions,
  WorkerEvent,
  WorkersSettings,
  WorkerStatus,
} from "./workers_options.ts";
import type { WorkerPlacement } from "./workers_placement.ts";
import type { Sendable, SendOptions } from "./ws_socket.ts";

/** What all workers of a server have counted. */
export interface WorkersStatistics extends ServerStatistics {
  /** Messages between them. */
  messages: MailStatistics;
  /** Topics that they share. */
  topics: RegistryStatistics;
}

/** A running server on many workers. */
export interface WorkersServer<Addr extends Deno.Addr = Deno.Addr>
  extends RunningServer<Addr> {
  /**
   * Replaces all workers, one by one, by others that import the module anew. Connections that wait to be accepted are
   * served by the one or the other. A worker that was replaced ends once its connections have.
   *
   * @param options How long their connections may go on.
   * @throws {Error} When a new worker cannot start; the old one and those behind it serve on.
   */
  reload(options?: ReloadOptions): Promise<void>;
  /** How the workers are. */
  workers(): WorkerStatus[];
  /**
   * Runs functions that take the processor for long, for the executors of all workers and for who asks here; it is
   * closed with the server.
   */
  readonly executor: WorkersExecutor;
  /** A copy of the counters, summed up over all workers. */
  statistics(): WorkersStatistics;
  /**
   * Sends a message to all WebSockets of the server that are subscribed to a topic, in all workers.
   *
   * @param topic The topic, without a wildcard.
   * @param message The message; encoded once, however many subscribers there are.
   * @param options How it is to be sent.
   * @returns How many subscribers there are in the workers that it was posted to; whoever matches by several patterns
   * counts for each of them.
   */
  publish(topic: string, message: Sendable, options?: SendOptions): number;
  /**
   * How many subscribers a topic has in all workers; whoever matches by several patterns counts for each of them.
   *
   * @param topic The topic; one with a wildcard stands for itself.
   * @returns Their number.
   */
  subscriberCount(topic: string): number;
  /**
   * Sends a value to a worker, to be heard by its `onMessage()`. The number of a worker that is being replaced is the old
   * one's until the new one serves.
   *
   * @param worker Its number.
   * @param value Anything that can be cloned. Strings and bytes are the cheapest.
   * @returns Whether it is in the worker's mailbox: not when that is full, or nobody serves under that number just now.
   * @throws {RangeError} When there is no such number, or the value is longer than a mailbox.
   * @throws {TypeError} When the value cannot be cloned.
   */
  send(worker: number, value: unknown): boolean;
  /**
   * Sends a value to all workers.
   *
   * @param value Anything that can be cloned.
   * @returns How many have it in their mailbox; while a worker is replaced, the old one and the new one.
   */
  broadcast(value: unknown): number;
}

// A worker that ends again and again is started anew ever more seldom.
const BACKOFF_FIRST_MS = 50;
const BACKOFF_SERVED_MS = 500;
const BACKOFF_MAX_MS = 5000;
// One that has lived for so long has not died of its start.
const LIVED_MS = 5000;
// Looks within the time after which a worker is stalled.
const LOOKS = 8;
const LOOK_MAX_MS = 1000;
// Between looks whether a thread has ended, behind its JavaScript.
const FOLD_MS = 10;
// As long is waited for that at the end.
const FOLD_LOOKS = 500;
const RELOAD_GRACE_MS = 1000;

type MailCounts = Pick<WorkersStatistics, "messages" | "topics">;

interface Slot {
  readonly number: number;
  /** Where whoever serves it is to run; null for anywhere. */
  readonly placement: WorkerPlacement | null;
  /** What was told last of why it does not. */
  unbound: string | null;
  /** Who serves it. */
  member: Member | null;
  /** Another one starts in its place. */
  replacing: boolean;
  deaths: number;
  retry: ReturnType<typeof setTimeout> | undefined;
}

/** The supervisor of all workers. */
export class Supervisor implements WorkersServer {
  readonly finished: Promise<void>;
  readonly executor: SharedExecutor;
  readonly #module: URL;
  readonly #settings: WorkersSettings;
  readonly #crew: Crew;
  readonly #mail: MailOffice;
  readonly #slots: Slot[];
  /** All whose place is not free again. */
  readonly #members = new Set<Member>();
  readonly #finish: () => void;
  readonly #past: ReactorCounters = readCounters(0, () => 0);
  readonly #tally = new Tally();
  readonly #files = new Map<string, SocketFile>();
  // When it is over.
  #mailCounts: MailCounts | null = null;
  #ready: Ready | null = null;
  // All workers have served.
  #begun = false;
  #nextPlace = 0;
  #look: ReturnType<typeof setInterval> | undefined;
  #reloading: Promise<void> = Promise.resolve();
  #shutdown: Promise<ShutdownReport> | null = null;
  #referenced = true;

  constructor(module: URL, settings: WorkersSettings) {
    this.#module = module;
    this.#settings = settings;
    const { placements } = settings;
    this.#crew = Crew.open(placements.length, settings.balance);
    this.#mail = new MailOffice(settings.mail);
    this.executor = new SharedExecutor(
      settings.executor,
      placements.flatMap((placement) => placement?.cpus ?? []),
    );
    this.#slots = placements.map((placement, number) => ({
      number,
      placement,
      unbound: null,
      member: null,
      replacing: false,
      deaths: 0,
      retry: undefined,
    }));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.finished = promise;
    this.#finish = resolve;
  }

  /** Starts all workers. When one cannot, the server is to be closed. */
  async start(): Promise<void> {
    await Promise.all(this.#slots.map((slot) => this.#begin(slot)));
    this.#requireRunning("start");
    this.#begun = true;
    const { workerTimeout } = this.#settings;
    if (workerTimeout > 0) {
      const every = Math.min(Math.ceil(workerTimeout / LOOKS), LOOK_MAX_MS);
      this.#look = setInterval(() => this.#lookAtAll(), every);
      Deno.unrefTimer(this.#look);
    }
  }

  get addr(): Deno.Addr {
    return this.#ready!.addrs[0]!;
  }

  /** What is spoken at that address. */
  get protocol(): "http" | "tcp" {
    return this.#ready!.protocol;
  }

  get backend(): BackendName {
    return this.#ready!.backend;
  }

  get backendReason(): string {
    return this.#ready!.backendReason;
  }

  ref(): void {
    this.#referenced = true;
    for (const member of this.#members) member.ref();
  }

  unref(): void {
    this.#referenced = false;
    for (const member of this.#members) member.unref();
  }

  statistics(): WorkersStatistics {
    const counters = { ...this.#past };
    const tally = new Tally();
    tally.add(this.#tally);
    for (const member of this.#members) {
      addCounters(counters, member.counters());
      tally.add(member.tally);
    }
    const memory = [...this.#members].flatMap((member) => member.memory());
    return {
      ...tally.read(counters, memory),
      ...this.#mailCounts ?? this.#countMail(),
    };
  }

  publish(topic: string, message: Sendable, options?: SendOptions): number {
    return this.#mail.publish(topic, message, options);
  }

  subscriberCount(topic: string): number {
    return this.#mail.subscriberCount(topic);
  }

  send(worker: number, value: unknown): boolean {
    return this.#mail.send(worker, value);
  }

  broadcast(value: unknown): number {
    return this.#mail.broadcast(value);
  }

  workers(): WorkerStatus[] {
    return [...this.#members].map((member) => {
      const { connections, quiet } = member.report();
      const { slot: worker, state, stalled, unbound } = member;
      const { placement } = this.#slots[worker]!;
      const bound = unbound === null ? placement : null;
      return {
        worker,
        state,
        connections,
        quiet,
        stalled,
        cpus: bound === null ? null : [...bound.cpus],
        node: bound?.node ?? null,
        memoryNode: bound?.memoryNode ?? null,
        unbound,
        messages: this.#mail.statisticsOf(member.mailPlace),
      };
    }).sort((a, b) => a.worker - b.worker);
  }

  reload(options: ReloadOptions = {}): Promise<void> {
    const how = checkShutdown({ grace: RELOAD_GRACE_MS, ...options });
    const all = this.#reloading.then(() => this.#replaceAll(how));
    this.#reloading = all.catch(() => {});
    return all;
  }

  shutdown(options: ShutdownOptions = {}): Promise<ShutdownReport> {
    const how = checkShutdown(options);
    return this.#shutdown ??= this.#drain(how);
  }

  /** Ends all workers at once. */
  async close(): Promise<void> {
    this.#shutdown ??= Promise.resolve({
      connections: 0,
      requests: 0,
      forced: 0,
    });
    await this.#close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  // --- workers that come

  async #begin(slot: Slot): Promise<void> {
    const member = new Member({
      crew: this.#crew,
      executor: this.executor,
      place: this.#takePlace(),
      slot: slot.number,
      placement: slot.placement,
      mail: this.#mail.take(),
      module: this.#module,
      listen: this.#settings.listen,
      startTimeout: this.#settings.startTimeout,
      hear: (note) => this.#hear(slot, note),
    });
    this.#members.add(member);
    if (!this.#referenced) member.unref();
    slot.member ??= member;
    const began = performance.now();
    void member.ended.then((error) => this.#ended(slot, member, began, error));
    await this.#started(slot, member);
  }

  async #started(slot: Slot, member: Member): Promise<void> {
    try {
      const ready = await member.ready;
      this.#listens(ready);
      this.#mail.enter(member.slot, member.mailPlace);
      // Here, and not by who waits for this: its end may be the next that is heard of it.
      slot.member = member;
    } catch (error) {
      // One that is ended before it serves has not failed.
      member.failed = member.state !== "leaving";
      await member.end();
      throw error;
    }
    this.#tell({ kind: "started", worker: slot.number, error: null });
    this.#tellUnbound(slot, member);
    this.#tellTopics();
  }

  // Once, and not again of each that follows.
  #tellUnbound(slot: Slot, { unbound }: Member): void {
    const isNews = unbound !== null && unbound !== slot.unbound;
    slot.unbound = unbound;
    if (!isNews) return;
    const error = new Error(unbound);
    this.#tell({ kind: "unbound", worker: slot.number, error });
  }

  // Each has a number of its own for as long as there are unused ones.
  #takePlace(): number {
    const taken = new Set([...this.#members].map(({ place }) => place));
    for (let tries = 0; tries < Crew.places; tries++) {
      const place = this.#nextPlace;
      this.#nextPlace = (place + 1) % Crew.places;
      if (!taken.has(place)) return place;
    }
    throw new Error("Cannot start a worker: too many have not ended yet");
  }

  #listens(ready: Ready): void {
    this.#ready ??= ready;
    this.#mail.listens(this.addr);
    for (const addr of ready.addrs) {
      if (addr.transport !== "unix") continue;
      const { path } = addr as Deno.UnixAddr;
      const file = this.#files.has(path) ? null : socketFileOf(addr);
      if (file !== null) this.#files.set(path, file);
    }
  }

  // --- workers that go

  #ended(
    slot: Slot,
    member: Member,
    began: number,
    error: Error | null,
  ): void {
    this.#mail.leave(member.slot, member.mailPlace);
    this.#fold(member).catch((cause) => {
      console.error("The place of a worker could not be freed", cause);
    });
    const told = member.state === "leaving" && !member.failed;
    const kind = told ? "stopped" : "died";
    // Why one cannot start is told once: by serveAll() and reload() to who calls them.
    if (member.served || this.#begun && slot.member === member) {
      this.#tell({ kind, worker: slot.number, error });
    }
    if (slot.member !== member) return;
    slot.member = null;
    if (told || this.#ready === null) return;
    if (performance.now() - began > LIVED_MS) slot.deaths = 0;
    this.#again(slot, member.failed ? BACKOFF_MAX_MS : BACKOFF_SERVED_MS);
  }

  #again(slot: Slot, longest: number): void {
    if (this.#shutdown !== null) return;
    slot.deaths++;
    const backoff = BACKOFF_FIRST_MS * 2 ** slot.deaths;
    const wait = slot.deaths < 2 ? 0 : Math.min(backoff, longest);
    // Nobody would come for those who connect meanwhile.
    if (wait > BACKOFF_SERVED_MS) this.#crew.vacate(slot.number);
    clearTimeout(slot.retry);
    slot.retry = setTimeout(() => {
      const taken = slot.member !== null || slot.replacing;
      if (taken || this.#shutdown !== null) return;
      this.#beginAgain(slot);
    }, wait);
  }

  // How it has gone is told by its end. Where none could be begun, since too many have not ended yet, it is tried later.
  #beginAgain(slot: Slot): void {
    slot.retry = undefined;
    this.#begin(slot).catch(() => {
      const waits = slot.member !== null || slot.retry !== undefined;
      if (!waits) this.#again(slot, BACKOFF_MAX_MS);
    });
  }

  // What it has counted is kept when its thread has given everything back. One that never does keeps no process alive.
  async #fold(member: Member): Promise<void> {
    while (member.lingers) await sleep(FOLD_MS, false);
    if (!this.#members.delete(member)) return;
    addCounters(this.#past, member.counters());
    this.#tally.add(member.tally);
    this.#mail.forget(member.mailPlace);
    this.#crew.forget(member.place);
    this.#tellTopics();
  }

  // Somebody has to tell of topics that have ended with their worker: whoever lives.
  #tellTopics(): void {
    for (const member of this.#members) {
      if (member.state === "serving") return member.tellTopics();
    }
  }

  #hear(slot: Slot, note: MailNote): void {
    if (note.millrace === "topics") return this.#mail.tellChanges();
    const { onMessage } = this.#settings;
    try {
      const result = onMessage?.(note.value, slot.number);
      if (result instanceof Promise) result.catch(complain);
    } catch (error) {
      complain(error);
    }
  }

  #lookAtAll(): void {
    const { workerTimeout, replaceStalled } = this.#settings;
    for (const slot of this.#slots) {
      const { member } = slot;
      if (member === null || member.state !== "serving") continue;
      const { quiet } = member.report();
      // Who sleeps takes no turn either, unless it is woken.
      if (quiet > workerTimeout / 2) this.#crew.wake(member.place);
      const stalled = quiet > workerTimeout;
      if (stalled === member.stalled) continue;
      member.stalled = stalled;
      const kind = stalled ? "stalled" : "recovered";
      this.#tell({ kind, worker: slot.number, error: null });
      if (stalled && replaceStalled) this.#replaceStalled(slot, member);
    }
    this.#trim();
  }

  // What the application has closed in all workers would go on to take in connections that nobody serves. A worker that
  // has yet to begin may listen there again.
  #trim(): void {
    const all = this.#slots.every(({ member, replacing }) =>
      member?.state === "serving" && !replacing
    );
    if (all) this.#crew.trim();
  }

  #replaceStalled(slot: Slot, member: Member): void {
    // Its successor listens already, on the same sockets.
    if (slot.replacing) return void member.end();
    this.#crew.vacate(slot.number);
    slot.member = null;
    void member.end();
    this.#beginAgain(slot);
  }

  async #replaceAll(how: Required<ShutdownOptions>): Promise<void> {
    this.executor.renew();
    for (const slot of this.#slots) {
      try {
        await this.#replace(slot, how);
      } catch (error) {
        this.#requireRunning("reload");
        throw error;
      }
    }
    this.executor.retire();
    this.#crew.trim();
  }

  // Both serve for a moment, from the same queue of connections.
  async #replace(slot: Slot, how: Required<ShutdownOptions>): Promise<void> {
    slot.replacing = true;
    clearTimeout(slot.retry);
    let old: Member | null = null;
    try {
      // One that does not serve yet cannot be told to leave.
      await slot.member?.ready.catch(() => {});
      this.#requireRunning("reload");
      old = slot.member;
      await this.#begin(slot);
    } finally {
      slot.replacing = false;
      if (slot.member === null) this.#again(slot, BACKOFF_MAX_MS);
    }
    if (old !== null) await old.leave(how);
  }

  // --- the end

  async #drain(how: Required<ShutdownOptions>): Promise<ShutdownReport> {
    this.#crew.drain();
    const sum: ShutdownReport = { connections: 0, requests: 0, forced: 0 };
    const all = Map.groupBy(this.#members, ({ state }) => state === "starting");
    // These have not told of any connections.
    for (const member of all.get(true) ?? []) void member.end();
    const reports = (all.get(false) ?? []).map((member) => member.leave(how));
    for (const report of await Promise.all(reports)) {
      sum.connections += report.connections;
      sum.requests += report.requests;
      sum.forced += report.forced;
    }
    await this.#close();
    return sum;
  }

  async #close(): Promise<void> {
    clearInterval(this.#look);
    for (const { retry } of this.#slots) clearTimeout(retry);
    await Promise.all([...this.#members].map((member) => member.end()));
    await this.executor.close();
    for (let looks = 0; looks < FOLD_LOOKS && this.#members.size > 0; looks++) {
      await sleep(FOLD_MS);
    }
    // One whose thread goes on for ever keeps the crew; it is let go of when the process ends.
    if (this.#members.size === 0) this.#release();
    try {
      for (const file of this.#files.values()) file.remove();
    } finally {
      this.#finish();
    }
  }

  #requireRunning(action: string): void {
    if (this.#shutdown === null) return;
    throw new TypeError(`Cannot ${action}: the server shuts down`);
  }

  #countMail(): MailCounts {
    return { messages: this.#mail.statistics(), topics: this.#mail.topics() };
  }

  #release(): void {
    if (this.#mailCounts !== null) return;
    this.#mailCounts = this.#countMail();
    this.#crew.close();
    this.#mail.close();
  }

  #tell(event: WorkerEvent): void {
    const { onWorker = log } = this.#settings;
    try {
      onWorker(event);
    } catch (error) {
      console.error("Exception in onWorker", error);
    }
  }
}

function log({ kind, worker, error }: WorkerEvent): void {
  if (kind === "died") {
    console.error(`Worker ${worker} has died:`, error ?? NO_ERROR);
  }
  if (kind === "stalled") console.error(`Worker ${worker} does not respond`);
  if (kind === "recovered") console.error(`Worker ${worker} responds again`);
  if (kind === "unbound") console.error(`Worker ${worker}: ${error!.message}`);
}

/** What is said of a worker that has died of no error. */
export const NO_ERROR = "without an error, as by Deno.exit()";

function complain(error: unknown): void {
  console.error("Exception in onMessage", error);
}

function sleep(ms: number, referenced = true): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    if (!referenced) Deno.unrefTimer(timer);
  });
}
