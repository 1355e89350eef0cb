// SPDX-License-Identifier: Apache-2.0
// facts.ts - what doctor looks at, as plain data; called by ../doctor.ts.

import { probeUring, Reactor } from "../../ffi/mod.ts";
import { resolveOptions } from "../options.ts";
import { plan } from "../placement.ts";
import { type Topology, topology } from "../topology.ts";

/** A limit of the system; null when it cannot be read. */
export type Limit = number | "unlimited" | null;

/** A machine as far as servers depend on it. Null is what cannot be read. */
export interface Facts {
  system: { kernel: string; arch: string; deno: string; v8: string };
  /** Permissions that servers need, and how they stand. */
  permissions: Record<"ffi" | "net" | "read", Deno.PermissionState>;
  /** Why the shim does not load; null when it does. */
  shimError: string | null;
  /** What `backend: "auto"` takes here, and why; null without the shim. */
  backend: { name: string; reason: string } | null;
  uring: {
    /** `kernel.io_uring_disabled`: 0, 1 (for most processes) or 2. */
    disabled: number | null;
    /** What the backend needs, with the errno that it failed with, or "". */
    features: { feature: string; error: string }[];
  };
  limits: {
    /** Descriptors of this process. Deno has raised its limit to the hard one. */
    descriptors: Limit;
    /** Bytes that may be locked, to which rings count. */
    locked: Limit;
    /** Connections that may wait to be accepted. */
    somaxconn: number | null;
    /** Handshakes that may be under way for a listener. */
    synBacklog: number | null;
    /** First and last local port of connections to others. */
    ports: [number, number] | null;
  };
  memory: {
    /** Transparent huge pages: `always`, `madvise` or `never`. */
    transparent: string | null;
    /** Pages of 2 MiB in the pool, and how many of them are free. */
    pool: { pages: number; free: number } | null;
    /** Bytes that control groups leave. */
    limit: Limit;
  };
  container: {
    /** What this runs in; null for nothing that is known. */
    kind: string | null;
    /** Whether system calls are filtered. */
    seccomp: boolean | null;
    /** Capabilities of this process that servers may want. */
    capabilities: Record<keyof typeof CAPABILITIES, boolean> | null;
    /** The first port that may be listened on without one of them. */
    firstPort: number | null;
  };
  /** The machine; null without the shim. */
  topology: Topology | null;
  /** Workers that `plan("auto")` makes, or 1 without a topology. */
  workers: number;
}

// By their numbers in linux/capability.h.
const CAPABILITIES = { netBind: 10n, ipcLock: 14n, sysNice: 23n };

/** Contents of a file, or null. */
export type Read = (path: string) => string | null;

/** Looks at this machine. */
export function gather(read: Read = readFile): Facts {
  const permissions = {
    ffi: stateOf("ffi"),
    net: stateOf("net"),
    read: stateOf("read"),
  };
  return {
    system: {
      kernel: read("/proc/sys/kernel/osrelease")?.trim() ?? "",
      arch: Deno.build.arch,
      deno: Deno.version.deno,
      v8: Deno.version.v8,
    },
    permissions,
    ...native(read),
    limits: limitsOf(read),
    memory: memoryOf(read),
    container: containerOf(read),
  };
}

// What only the shim knows.
function native(
  read: Read,
): Pick<Facts, "shimError" | "backend" | "uring" | "topology" | "workers"> {
  const disabled = numberOf(read("/proc/sys/kernel/io_uring_disabled"));
  try {
    const machine = topology();
    return {
      shimError: null,
      backend: backendOf(),
      uring: { disabled, features: probeUring() },
      topology: machine,
      workers: plan("auto", "spread", machine).length,
    };
  } catch (error) {
    return {
      shimError: (error as Error).message,
      backend: null,
      uring: { disabled, features: [] },
      topology: null,
      workers: 1,
    };
  }
}

// A reactor as servers open it, with little memory.
function backendOf(): Facts["backend"] {
  const reactor = new Reactor(
    resolveOptions({ maxConnections: 64, bufferBytes: 8 << 20 }),
  );
  const { backend: name, reason } = reactor;
  reactor.close();
  return { name, reason };
}

function stateOf(name: "ffi" | "net" | "read"): Deno.PermissionState {
  return Deno.permissions.querySync({ name }).state;
}

function limitsOf(read: Read): Facts["limits"] {
  const limits = read("/proc/self/limits") ?? "";
  const ports = /^(\d+)\s+(\d+)/.exec(
    read("/proc/sys/net/ipv4/ip_local_port_range") ?? "",
  );
  return {
    descriptors: limitOf(/^Max open files +(\S+)/m.exec(limits)),
    locked: limitOf(/^Max locked memory +(\S+)/m.exec(limits)),
    somaxconn: numberOf(read("/proc/sys/net/core/somaxconn")),
    synBacklog: numberOf(read("/proc/sys/net/ipv4/tcp_max_syn_backlog")),
    ports: ports === null ? null : [Number(ports[1]), Number(ports[2])],
  };
}

function memoryOf(read: Read): Facts["memory"] {
  const transparent = read("/sys/kernel/mm/transparent_hugepage/enabled") ?? "";
  const pool = "/sys/kernel/mm/hugepages/hugepages-2048kB";
  const pages = numberOf(read(`${pool}/nr_hugepages`));
  const free = numberOf(read(`${pool}/free_hugepages`));
  const limit = read("/sys/fs/cgroup/memory.max") ??
    read("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  return {
    transparent: /\[(\w+)\]/.exec(transparent)?.[1] ?? null,
    pool: pages === null || free === null ? null : { pages, free },
    limit: limitOf(/^(\S+)/.exec(limit ?? "")),
  };
}

// What container runtimes leave behind.
const MARKS: [path: string, pattern: RegExp, kind: string][] = [
  [
    "/var/run/secrets/kubernetes.io/serviceaccount/namespace",
    /^/,
    "Kubernetes",
  ],
  ["/run/.containerenv", /^/, "Podman"],
  ["/.dockerenv", /^/, "Docker"],
  ["/run/systemd/container", /^/, "a container"],
  ["/proc/1/cgroup", /kubepods/, "Kubernetes"],
  ["/proc/1/cgroup", /docker|containerd/, "Docker"],
  ["/proc/1/cgroup", /lxc/, "LXC"],
];

function containerOf(read: Read): Facts["container"] {
  const mark = MARKS.find(([path, pattern]) => {
    const text = read(path);
    return text !== null && pattern.test(text);
  });
  const status = read("/proc/self/status") ?? "";
  const seccomp = /^Seccomp:\s*(\d)/m.exec(status);
  return {
    kind: mark?.[2] ?? null,
    seccomp: seccomp === null ? null : seccomp[1] !== "0",
    capabilities: capabilitiesOf(/^CapEff:\s*([0-9a-f]+)/m.exec(status)),
    firstPort: numberOf(read("/proc/sys/net/ipv4/ip_unprivileged_port_start")),
  };
}

function capabilitiesOf(
  found: RegExpExecArray | null,
): Facts["container"]["capabilities"] {
  if (found === null) return null;
  const all = BigInt(`0x${found[1]}`);
  const has = (bit: bigint): boolean => (all >> bit & 1n) === 1n;
  const { netBind, ipcLock, sysNice } = CAPABILITIES;
  return {
    netBind: has(netBind),
    ipcLock: has(ipcLock),
    sysNice: has(sysNice),
  };
}

// Version 1 of control groups says "unlimited" with a number near 2^63.
function limitOf(found: RegExpExecArray | null): Limit {
  if (found === null) return null;
  const number = Number(found[1]);
  return Number.isSafeInteger(number) ? number : "unlimited";
}

function numberOf(text: string | null): number | null {
  const found = /^(\d+)/.exec(text ?? "");
  return found === null ? null : Number(found[1]);
}

function readFile(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return null;
  }
}
