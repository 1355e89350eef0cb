// SPDX-License-Identifier: Apache-2.0
// findings.ts - what is to be said about a machine, as a pure function of the facts; called by ../doctor.ts.

import type { Facts, Limit } from "./facts.ts";

/** One thing to know or to change. */
export interface Finding {
  /** An error keeps servers from running, a warning costs speed or connections, a note is good to know. */
  level: "error" | "warning" | "note";
  /** What it is about. */
  about: string;
  /** What is so, and what follows from it. */
  text: string;
  /** Commands that change it, any one of them or in turn, as root where they need it; none where there are none. */
  fix: string[];
}

type Rule = (facts: Facts) => Finding | null;

const MIN_DENO = [2, 9];
const MIN_URING = [6, 1];
const LATER_URING = [6, 13];
// A server's maxConnections unless set otherwise, and what else a process has open.
const DESCRIPTORS = 65536 + 64;
const DESCRIPTORS_WANTED = 1 << 20;
// What a ring of default size locks, rounded up.
const RING_BYTES = 512 << 10;
// What kernels come with. Listeners ask for 511 unless tcpBacklog says more.
const BACKLOG = 4096;
const SYN_BACKLOG = 1024;
const PORTS = [32768, 60999] as const;
const HTTP_PORT = 80;
// Pages of 2 MiB that a worker's memory takes with default options.
const PAGES_EACH = 67;
const WORKER_BYTES = PAGES_EACH * (2 << 20);

const RULES: Rule[] = [
  deno,
  ffi,
  shim,
  net,
  read,
  epoll,
  uringBefore613,
  descriptors,
  locked,
  somaxconn,
  synBacklog,
  localPorts,
  lowPorts,
  transparentPages,
  poolPages,
  memoryLimit,
  quota,
  cpus,
  memoryless,
  mbind,
  hwloc,
];

/** All that is to be said, the worst first. */
export function findings(facts: Facts): Finding[] {
  const levels = ["error", "warning", "note"];
  return RULES.flatMap((rule) => rule(facts) ?? [])
    .sort((a, b) => levels.indexOf(a.level) - levels.indexOf(b.level));
}

function say(
  level: Finding["level"],
  about: string,
  text: string,
  ...fix: string[]
): Finding {
  return { level, about, text, fix };
}

function deno({ system }: Facts): Finding | null {
  if (!isBelow(system.deno, MIN_DENO)) return null;
  const text = `Deno ${system.deno} is too old: ${
    MIN_DENO.join(".")
  } or newer is needed`;
  return say("error", "Deno", text, "deno upgrade");
}

const RUN = "deno run --allow-ffi --allow-net app.ts";

function ffi({ permissions }: Facts): Finding | null {
  if (permissions.ffi === "granted") return null;
  return say(
    "error",
    "permissions",
    "Without --allow-ffi the shim cannot be loaded",
    RUN,
  );
}

function shim({ permissions, shimError }: Facts): Finding | null {
  if (shimError === null || permissions.ffi !== "granted") return null;
  return say(
    "error",
    "shim",
    `The shim cannot be used: ${shimError}`,
    "deno task setup",
  );
}

function net({ permissions }: Facts): Finding | null {
  if (permissions.net === "granted") return null;
  const text =
    "Without --allow-net servers may not listen, or only where the flag names";
  return say("warning", "permissions", text, RUN);
}

// Deno shows /proc to nobody who lacks any permission.
function read({ permissions, system }: Facts): Finding | null {
  const granted = permissions.read === "granted";
  if (granted && system.kernel !== "") return null;
  const flag = granted ? "--allow-all" : "--allow-read";
  const text = `Without ${flag} little of this system can be seen here`;
  return say(
    "note",
    "permissions",
    text,
    "deno run -A jsr:@millrace/millrace/cli doctor",
  );
}

// The reasons that have a cure of their own, and the reason itself where none is known.
function epoll(facts: Facts): Finding | null {
  const { system, uring, container, backend } = facts;
  const failed = uring.features.find(({ error }) => error !== "");
  const isWell = failed === undefined && backend?.name === "io_uring";
  if (facts.shimError !== null || isWell) return null;
  const because = (text: string, ...fix: string[]): Finding =>
    say("warning", "io_uring", `Servers run on epoll: ${text}`, ...fix);
  if (isBelow(system.kernel, MIN_URING)) {
    return because(
      `io_uring is used from Linux ${
        MIN_URING.join(".")
      } on, and this is ${system.kernel}`,
    );
  }
  if (uring.disabled !== null && uring.disabled > 0) {
    return because(
      `kernel.io_uring_disabled is ${uring.disabled}`,
      ...sysctl("kernel.io_uring_disabled", 0),
    );
  }
  const { feature, error } = failed ?? { feature: "", error: "" };
  if (error === "ENOMEM") {
    return because(
      "the rings do not fit into the memory that may be locked",
      "ulimit -l unlimited",
      ...inContainer(facts, "--ulimit memlock=-1"),
    );
  }
  if (container.seccomp && ["EPERM", "ENOSYS", "EACCES"].includes(error)) {
    return because(
      `the system call filter of ${
        container.kind ?? "this process"
      } forbids io_uring (${feature}: ${error}); ` +
        "allow io_uring_setup, io_uring_enter and io_uring_register in its profile",
      ...inContainer(facts, "--security-opt seccomp=unconfined"),
    );
  }
  return because(
    error === ""
      ? backend?.reason ?? "io_uring does not work"
      : `${feature} fails with ${error}`,
  );
}

function uringBefore613({ system, backend }: Facts): Finding | null {
  if (backend?.name !== "io_uring" || !isBelow(system.kernel, LATER_URING)) {
    return null;
  }
  const text =
    `Linux ${system.kernel} delivers all that has arrived at once, as do all before ${
      LATER_URING.join(".")
    }: ` +
    'with more than 256 busy connections give servers backend: "epoll"';
  return say("note", "io_uring", text);
}

function descriptors(facts: Facts): Finding | null {
  const limit = facts.limits.descriptors;
  if (!isLess(limit, DESCRIPTORS)) return null;
  return say(
    "warning",
    "nofile",
    `A process may open ${limit} descriptors, and a server takes up to 65536 connections unless maxConnections says less`,
    `ulimit -n ${DESCRIPTORS_WANTED}`,
    `systemctl edit SERVICE   # [Service] LimitNOFILE=${DESCRIPTORS_WANTED}`,
    ...inContainer(facts, `--ulimit nofile=${DESCRIPTORS_WANTED}`),
  );
}

function locked(facts: Facts): Finding | null {
  const { limits, container, backend, workers } = facts;
  if (backend?.name !== "io_uring" || container.capabilities?.ipcLock) {
    return null;
  }
  if (!isLess(limits.locked, RING_BYTES * workers)) return null;
  return say(
    "warning",
    "memlock",
    `${limits.locked} bytes may be locked, which may be too little for the rings of ${
      counted(workers)
    }: those that do not fit are smaller`,
    "ulimit -l unlimited",
    "systemctl edit SERVICE   # [Service] LimitMEMLOCK=infinity",
    ...inContainer(facts, "--ulimit memlock=-1"),
  );
}

function somaxconn(facts: Facts): Finding | null {
  const value = facts.limits.somaxconn;
  if (value === null || value >= BACKLOG) return null;
  return say(
    "warning",
    "somaxconn",
    `Only ${value} connections may wait to be accepted, whatever tcpBacklog says: a burst of more is refused`,
    ...sysctl("net.core.somaxconn", BACKLOG),
    ...inContainer(facts, `--sysctl net.core.somaxconn=${BACKLOG}`),
  );
}

function synBacklog({ limits }: Facts): Finding | null {
  const value = limits.synBacklog;
  if (value === null || value >= SYN_BACKLOG) return null;
  return say(
    "warning",
    "tcp_max_syn_backlog",
    `Only ${value} handshakes may be under way: a burst of more is dropped`,
    ...sysctl("net.ipv4.tcp_max_syn_backlog", SYN_BACKLOG),
  );
}

function localPorts({ limits: { ports } }: Facts): Finding | null {
  const count = ports === null ? Infinity : ports[1] - ports[0] + 1;
  if (count > PORTS[1] - PORTS[0]) return null;
  return say(
    "warning",
    "local ports",
    `Connections to others have ${count} ports for each address of theirs`,
    `sysctl -w net.ipv4.ip_local_port_range="${PORTS.join(" ")}"`,
  );
}

function lowPorts(facts: Facts): Finding | null {
  const { capabilities, firstPort } = facts.container;
  if (capabilities === null || capabilities.netBind) return null;
  if (firstPort === null || firstPort <= HTTP_PORT) return null;
  return say(
    "note",
    "low ports",
    `Ports below ${firstPort} may not be listened on`,
    ...sysctl("net.ipv4.ip_unprivileged_port_start", HTTP_PORT),
    ...inContainer(facts, "--cap-add NET_BIND_SERVICE"),
  );
}

function transparentPages({ memory }: Facts): Finding | null {
  if (memory.transparent !== "never") return null;
  const text =
    "Transparent huge pages are off, so that servers get pages of 4 KiB";
  return say(
    "warning",
    "huge pages",
    text,
    "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
  );
}

function poolPages({ memory: { pool }, workers }: Facts): Finding | null {
  const wanted = PAGES_EACH * workers;
  if (pool === null || pool.free >= wanted) return null;
  return say(
    "note",
    "huge pages",
    `${pool.free} pages of 2 MiB are free in the pool, of which ${
      counted(workers)
    } may use ${wanted}; ` +
      "what is in the pool is taken from everything else",
    `sysctl -w vm.nr_hugepages=${pool.pages - pool.free + wanted}`,
  );
}

function memoryLimit({ memory, workers }: Facts): Finding | null {
  const wanted = WORKER_BYTES * workers;
  if (!isLess(memory.limit, wanted)) return null;
  return say(
    "warning",
    "memory",
    `Control groups leave ${memory.limit} bytes, and the buffers of ${
      counted(workers)
    } may grow to ${wanted}: ` +
      "lower bufferBytes, or the number of workers",
  );
}

function quota(facts: Facts): Finding | null {
  const { quota = null, cpus = [] } = facts.topology ?? {};
  const usable = cpus.filter((cpu) => cpu.allowed).length;
  if (quota === null || quota >= usable) return null;
  if (quota >= 1) {
    return say(
      "note",
      "CPU quota",
      `Control groups leave the time of ${quota} CPUs, of which ${usable} may be used: workers "auto" goes by the former`,
    );
  }
  return say(
    "warning",
    "CPU quota",
    `Control groups leave ${quota} of a CPU: a busy server is stopped for the rest of each period`,
    ...inContainer(facts, "--cpus 2"),
  );
}

function cpus({ topology }: Facts): Finding | null {
  const all = topology?.cpus ?? [];
  const usable = all.filter((cpu) => cpu.allowed).length;
  if (usable === all.length) return null;
  return say(
    "note",
    "CPUs",
    `This process may use ${usable} of ${all.length} CPUs, by its affinity mask or cpuset`,
  );
}

function memoryless({ topology }: Facts): Finding | null {
  const { cpus = [], nodes = [] } = topology ?? {};
  const poor = nodes.filter((node) => node.memory === 0 || !node.allowed)
    .filter(({ id }) => cpus.some((cpu) => cpu.allowed && cpu.node === id));
  if (poor.length === 0) return null;
  const names = poor.map(({ id }) => id).join(", ");
  return say(
    "warning",
    "NUMA",
    `No memory is to be had on node ${names}: workers there use that of another one`,
  );
}

// As the profile of Docker has it.
function mbind(facts: Facts): Finding | null {
  const { container, topology } = facts;
  if ((topology?.nodes.length ?? 0) < 2) return null;
  if (!container.seccomp || container.capabilities?.sysNice !== false) {
    return null;
  }
  return say(
    "note",
    "NUMA",
    "The system call filter may forbid mbind without CAP_SYS_NICE: memory then comes from where a worker touches it first",
    ...inContainer(facts, "--cap-add SYS_NICE"),
  );
}

function hwloc({ topology }: Facts): Finding | null {
  if (topology?.source !== "/sys") return null;
  const text =
    "hwloc is not installed: the topology comes from /sys, which does for most machines";
  return say(
    "note",
    "hwloc",
    text,
    "apt-get install -y --no-install-recommends libhwloc15",
  );
}

function counted(workers: number): string {
  return `${workers} ${workers === 1 ? "worker" : "workers"}`;
}

// Now, and from the next start on.
function sysctl(name: string, value: number): string[] {
  return [
    `sysctl -w ${name}=${value}`,
    `echo ${name}=${value} > /etc/sysctl.d/90-${name}.conf`,
  ];
}

function inContainer({ container: { kind } }: Facts, flags: string): string[] {
  if (kind === "Podman") return [`podman run ${flags} …`];
  return kind === "Docker" ? [`docker run ${flags} …`] : [];
}

function isLess(limit: Limit, wanted: number): boolean {
  return typeof limit === "number" && limit < wanted;
}

// What is not known is not below.
function isBelow(
  version: string,
  [major = 0, minor = 0]: readonly number[],
): boolean {
  const found = /^(\d+)\.(\d+)/.exec(version);
  if (found === null) return false;
  const [hasMajor, hasMinor] = [Number(found[1]), Number(found[2])];
  return hasMajor < major || (hasMajor === major && hasMinor < minor);
}
