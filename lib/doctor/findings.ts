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
  /** Commands that change it, run as root where they need it; none where there is nothing to run. */
  fix: string[];
}

// A server's maxConnections unless set otherwise, and what else a process has open.
const DESCRIPTORS = 65536 + 64;
// What a ring of default size locks, rounded up.
const RING_BYTES = 512 << 10;
// Where listeners ask for more than the default of 511, the kernel's own default is what they get.
const BACKLOG = 4096;
const SYN_BACKLOG = 1024;
// The range that kernels come with.
const PORTS = 28232;
// Pages of 2 MiB that a worker's memory takes with default options.
const PAGES_EACH = 67;
const WORKER_BYTES = PAGES_EACH << 21;
const MIN_DENO = [2, 9];
const MIN_URING = [6, 1];
const LATER_URING = [6, 13];

/** All that is to be said, the worst first. */
export function findings(facts: Facts): Finding[] {
  const found = [
    ...aboutDeno(facts),
    ...aboutUring(facts),
    ...aboutLimits(facts),
    ...aboutMemory(facts),
    ...aboutProcessors(facts),
  ];
  const levels = ["error", "warning", "note"];
  return found.sort((a, b) =>
    levels.indexOf(a.level) - levels.indexOf(b.level)
  );
}

function finding(
  level: Finding["level"],
  about: string,
  text: string,
  ...fix: string[]
): Finding[] {
  return [{ level, about, text, fix }];
}

function aboutDeno({ system, permissions, shimError }: Facts): Finding[] {
  const found: Finding[] = [];
  if (isBelow(system.deno, MIN_DENO)) {
    found.push(
      ...finding(
        "error",
        "Deno",
        `Deno ${system.deno} is too old: ${
          MIN_DENO.join(".")
        } or newer is needed`,
        "deno upgrade",
      ),
    );
  }
  if (permissions.ffi !== "granted") {
    found.push(
      ...finding(
        "error",
        "permissions",
        "Without --allow-ffi the shim cannot be loaded",
        "deno run --allow-ffi --allow-net app.ts",
      ),
    );
  } else if (shimError !== null) {
    found.push(
      ...finding(
        "error",
        "shim",
        `The shim cannot be used: ${shimError}`,
        "deno task setup",
      ),
    );
  }
  if (permissions.net !== "granted") {
    found.push(
      ...finding(
        "warning",
        "permissions",
        "Without --allow-net servers may not listen, or only where the flag names",
        "deno run --allow-ffi --allow-net app.ts",
      ),
    );
  }
  if (permissions.read !== "granted") {
    found.push(
      ...finding(
        "note",
        "permissions",
        "Without --allow-read little of this system can be seen here",
        "deno run -A jsr:@millrace/millrace/cli doctor",
      ),
    );
  }
  return found;
}

function aboutUring(facts: Facts): Finding[] {
  const { system, uring, backend } = facts;
  if (facts.shimError !== null) return [];
  const failed = uring.features.find(({ error }) => error !== "");
  if (failed !== undefined || backend?.name !== "io_uring") {
    return whyNot(facts, failed);
  }
  if (!isBelow(system.kernel, LATER_URING)) return [];
  return finding(
    "note",
    "io_uring",
    `Linux ${system.kernel} delivers all that has arrived at once: with more than 256 busy connections epoll is faster before ${
      LATER_URING.join(".")
    }; give servers backend: "epoll" then`,
  );
}

type Feature = Facts["uring"]["features"][number];

// The reasons that have a cure of their own, and the reason itself where none is known.
function whyNot(
  { system, uring, container, backend }: Facts,
  failed: Feature | undefined,
): Finding[] {
  const say = (text: string, ...fix: string[]): Finding[] =>
    finding("warning", "io_uring", `Servers run on epoll: ${text}`, ...fix);
  if (isBelow(system.kernel, MIN_URING)) {
    return say(
      `io_uring is used from Linux ${
        MIN_URING.join(".")
      } on, and this is ${system.kernel}`,
    );
  }
  if ((uring.disabled ?? 0) > 0) {
    return say(
      `kernel.io_uring_disabled is ${uring.disabled}`,
      "sysctl -w kernel.io_uring_disabled=0",
      "echo kernel.io_uring_disabled=0 > /etc/sysctl.d/90-io_uring.conf",
    );
  }
  if (failed?.error === "ENOMEM") {
    return say(
      "the rings do not fit into the memory that may be locked",
      "ulimit -l unlimited",
      ...inContainer(container.kind, "--ulimit memlock=-1"),
    );
  }
  if (
    container.seccomp &&
    ["EPERM", "ENOSYS", "EACCES"].includes(failed?.error ?? "")
  ) {
    return say(
      `the system call filter of ${
        container.kind ?? "this process"
      } forbids io_uring (${failed!.feature}: ${
        failed!.error
      }); allow io_uring_setup, io_uring_enter and io_uring_register in its profile`,
      ...inContainer(container.kind, "--security-opt seccomp=unconfined"),
    );
  }
  return say(
    failed === undefined
      ? backend?.reason ?? "io_uring does not work"
      : `${failed.feature} fails with ${failed.error}`,
  );
}

function inContainer(kind: string | null, flags: string): string[] {
  if (kind === "Podman") return [`podman run ${flags} …`];
  return kind === "Docker" ? [`docker run ${flags} …`] : [];
}

function aboutLimits(
  { limits, container, backend, workers }: Facts,
): Finding[] {
  const { descriptors, locked, somaxconn, synBacklog, ports } = limits;
  const found: Finding[] = [];
  if (isLess(descriptors, DESCRIPTORS)) {
    const wanted = 1 << 20;
    found.push(...finding(
      "warning",
      "nofile",
      `A process may open ${descriptors} descriptors, and a server takes up to 65536 connections unless maxConnections says less`,
      `ulimit -n ${wanted}`,
      `systemctl edit SERVICE   # [Service] LimitNOFILE=${wanted}`,
      ...inContainer(container.kind, `--ulimit nofile=${wanted}`),
    ));
  }
  if (backend?.name === "io_uring" && isLess(locked, RING_BYTES * workers)) {
    found.push(...finding(
      "warning",
      "memlock",
      `${locked} bytes may be locked, which may be too little for the rings of ${workers} ${
        workers === 1 ? "worker" : "workers"
      }: those that do not fit are smaller`,
      "ulimit -l unlimited",
      "systemctl edit SERVICE   # [Service] LimitMEMLOCK=infinity",
      ...inContainer(container.kind, "--ulimit memlock=-1"),
    ));
  }
  found.push(
    ...sysctl(
      somaxconn,
      BACKLOG,
      "net.core.somaxconn",
      "connections may wait to be accepted: a burst of them is refused, whatever tcpBacklog says",
    ),
  );
  found.push(
    ...sysctl(
      synBacklog,
      SYN_BACKLOG,
      "net.ipv4.tcp_max_syn_backlog",
      "handshakes may be under way: a burst of them is dropped",
    ),
  );
  if (ports !== null && ports[1] - ports[0] + 1 < PORTS) {
    found.push(...finding(
      "warning",
      "ports",
      `Connections to others have ${
        ports[1] - ports[0] + 1
      } local ports for each address`,
      'sysctl -w net.ipv4.ip_local_port_range="32768 60999"',
    ));
  }
  return found;
}

function sysctl(
  value: number | null,
  wanted: number,
  name: string,
  text: string,
): Finding[] {
  if (value === null || value >= wanted) return [];
  return finding(
    "warning",
    name.split(".").at(-1)!,
    `Only ${value} ${text}`,
    `sysctl -w ${name}=${wanted}`,
    `echo ${name}=${wanted} > /etc/sysctl.d/90-${name}.conf`,
  );
}

function aboutMemory({ memory, workers }: Facts): Finding[] {
  const { transparent, pool, limit } = memory;
  const found: Finding[] = [];
  const pages = PAGES_EACH * workers;
  if (transparent === "never") {
    found.push(...finding(
      "warning",
      "huge pages",
      "Transparent huge pages are off, so that servers get pages of 4 KiB",
      "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
    ));
  }
  if (pool !== null && pool.free < pages) {
    found.push(...finding(
      "note",
      "huge pages",
      `${pool.free} pages of 2 MiB are free in the pool, and ${workers} ${
        workers === 1 ? "worker takes" : "workers take"
      } ${pages} when there are that many; they are then taken for good`,
      `sysctl -w vm.nr_hugepages=${pool.pages - pool.free + pages}`,
    ));
  }
  if (isLess(limit, WORKER_BYTES * workers)) {
    found.push(...finding(
      "warning",
      "memory",
      `Control groups leave ${limit} bytes, and the buffers of ${workers} ${
        workers === 1 ? "worker" : "workers"
      } may grow to ${
        WORKER_BYTES * workers
      }: lower bufferBytes, or the number of workers`,
    ));
  }
  return found;
}

function aboutProcessors({ topology, container }: Facts): Finding[] {
  if (topology === null) return [];
  const { cpus, nodes, quota, source } = topology;
  const found: Finding[] = [];
  const allowed = cpus.filter((cpu) => cpu.allowed);
  if (quota !== null && quota < 1) {
    found.push(...finding(
      "warning",
      "CPU quota",
      `Control groups leave ${quota} of a CPU: a server that is busy is stopped for most of each period`,
      ...inContainer(container.kind, "--cpus 2"),
    ));
  } else if (quota !== null && quota < allowed.length) {
    found.push(...finding(
      "note",
      "CPU quota",
      `Control groups leave the time of ${quota} CPUs, and ${allowed.length} may be used: workers "auto" goes by the former`,
    ));
  }
  if (allowed.length < cpus.length) {
    found.push(...finding(
      "note",
      "CPUs",
      `This process may use ${allowed.length} of ${cpus.length} CPUs, by its affinity mask or cpuset`,
    ));
  }
  const used = nodes.filter(({ id }) => allowed.some((cpu) => cpu.node === id));
  const poor = used.filter((node) => node.memory === 0 || !node.allowed);
  if (poor.length > 0) {
    found.push(...finding(
      "warning",
      "NUMA",
      `No memory is to be had on node ${
        poor.map(({ id }) => id).join(", ")
      }: workers there use that of another node`,
    ));
  }
  if (source === "/sys") {
    found.push(
      ...finding(
        "note",
        "hwloc",
        "hwloc is not installed: the topology comes from /sys, which does for most machines",
        "apt-get install -y --no-install-recommends libhwloc15",
      ),
    );
  }
  return found;
}

function isLess(limit: Limit, wanted: number): boolean {
  return typeof limit === "number" && limit < wanted;
}

function isBelow(
  version: string,
  [major = 0, minor = 0]: readonly number[],
): boolean {
  const [, has = 0, hasMinor = 0] =
    /^(\d+)\.(\d+)/.exec(version)?.map(Number) ?? [0, Infinity];
  return has < major || (has === major && hasMinor < minor);
}
