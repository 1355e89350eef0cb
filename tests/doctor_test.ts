// SPDX-License-Identifier: Apache-2.0
// Tests of doctor: what is found on machines that are made up, what is read on
// this one, the picture, and the program.

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Facts, gather } from "../lib/doctor/facts.ts";
import { type Finding, findings } from "../lib/doctor/findings.ts";
import { picture, size } from "../lib/doctor/picture.ts";
import { printed } from "../lib/doctor/print.ts";
import { readMachines, xml } from "./machines.ts";

const FEATURES = [
  "ring",
  "buffer ring",
  "multishot receive",
  "multishot accept",
  "eventfd",
  "wake chain",
];

/** A machine that has nothing to complain of. */
const WELL: Facts = {
  system: { kernel: "6.18.0", arch: "x86_64", deno: "2.9.6", v8: "15.0" },
  permissions: { ffi: "granted", net: "granted", read: "granted" },
  shimError: null,
  backend: { name: "io_uring", reason: "the kernel has all that it needs" },
  uring: {
    disabled: 0,
    features: FEATURES.map((feature) => ({ feature, error: "" })),
  },
  limits: {
    descriptors: 1 << 20,
    locked: "unlimited",
    somaxconn: 4096,
    synBacklog: 4096,
    ports: [32768, 60999],
  },
  memory: {
    transparent: "madvise",
    pool: { pages: 1024, free: 1024 },
    limit: "unlimited",
  },
  container: {
    kind: null,
    seccomp: false,
    capabilities: { netBind: true, ipcLock: false, sysNice: true },
    firstPort: 1024,
  },
  topology: {
    source: "hwloc",
    cpus: [0, 1].map((id) => ({
      id,
      package: 0,
      core: id,
      node: 0,
      allowed: true,
    })),
    nodes: [{
      id: 0,
      memory: 2 ** 34,
      allowed: true,
      cpus: [0, 1],
      distances: [10],
    }],
    caches: [],
    quota: null,
  },
  workers: 2,
};

type Part =
  | "system"
  | "permissions"
  | "uring"
  | "limits"
  | "memory"
  | "container";

/** The machine above, but for one of its parts. */
function withPart<P extends Part>(
  part: P,
  values: Partial<Facts[P]>,
  rest: Partial<Facts> = {},
): Facts {
  return { ...WELL, ...rest, [part]: { ...WELL[part], ...values } };
}

function withTopology(values: Partial<NonNullable<Facts["topology"]>>): Facts {
  return { ...WELL, topology: { ...WELL.topology!, ...values } };
}

/** io_uring as it is found where one thing fails and what stands on it was not tried. */
function failing(error: string): Partial<Facts["uring"]> {
  const features = FEATURES.map((feature, at) => ({
    feature,
    error: at === 0 ? error : "ECANCELED",
  }));
  return { features };
}

const ON_EPOLL: Partial<Facts> = {
  backend: { name: "epoll", reason: "io_uring_setup failed" },
};

/** The only thing to be said. */
function only(facts: Facts): Finding {
  const found = findings(facts);
  assertEquals(found.length, 1, JSON.stringify(found));
  return found[0]!;
}

function expect(
  facts: Facts,
  level: Finding["level"],
  text: string,
  ...fix: string[]
): void {
  const found = only(facts);
  assertEquals(found.level, level);
  assertStringIncludes(found.text, text);
  assertEquals(found.fix, fix);
}

Deno.test("a machine that has all is told nothing", () => {
  assertEquals(findings(WELL), []);
});

Deno.test("what keeps servers from running is an error", () => {
  expect(
    withPart("system", { deno: "2.8.3" }),
    "error",
    "Deno 2.8.3 is too old",
    "deno upgrade",
  );
  expect(
    withPart("permissions", { ffi: "prompt" }),
    "error",
    "--allow-ffi",
    "deno run --allow-ffi --allow-net app.ts",
  );
  expect(
    { ...WELL, shimError: "Cannot find it", backend: null, topology: null },
    "error",
    "Cannot find it",
    "deno task setup",
  );
});

Deno.test("permissions that are narrow are told", () => {
  expect(
    withPart("permissions", { net: "prompt" }),
    "warning",
    "--allow-net",
    "deno run --allow-ffi --allow-net app.ts",
  );
  expect(
    withPart("permissions", { read: "denied" }),
    "note",
    "--allow-read",
    "deno run -A jsr:@millrace/millrace/cli doctor",
  );
  // The permission alone does not show /proc.
  const hidden = withPart("system", { kernel: "" });
  expect(
    hidden,
    "note",
    "--allow-all",
    "deno run -A jsr:@millrace/millrace/cli doctor",
  );
  assertEquals(
    printed(hidden, findings(hidden)).split("\n").at(-1),
    "Nothing is known to be wrong.",
  );
});

Deno.test("why epoll runs is told by its reason, with its cure", () => {
  expect(
    withPart("system", { kernel: "5.15.0-91" }, {
      ...ON_EPOLL,
      uring: { disabled: null, ...failing("EINVAL") } as Facts["uring"],
    }),
    "warning",
    "used from Linux 6.1 on, and this is 5.15.0-91",
  );
  expect(
    withPart("uring", { disabled: 2, ...failing("EPERM") }, ON_EPOLL),
    "warning",
    "io_uring_disabled is 2",
    "sysctl -w kernel.io_uring_disabled=0",
    "echo kernel.io_uring_disabled=0 > /etc/sysctl.d/90-kernel.io_uring_disabled.conf",
  );
  const docker = {
    container: { ...WELL.container, kind: "Docker", seccomp: true },
  };
  expect(
    withPart("uring", failing("EPERM"), { ...ON_EPOLL, ...docker }),
    "warning",
    "filter of Docker forbids io_uring (ring: EPERM)",
    "docker run --security-opt seccomp=unconfined …",
  );
  const podman = {
    container: { ...WELL.container, kind: "Podman", seccomp: true },
  };
  expect(
    withPart("uring", failing("ENOMEM"), { ...ON_EPOLL, ...podman }),
    "warning",
    "do not fit",
    "ulimit -l unlimited",
    "podman run --ulimit memlock=-1 …",
  );
  expect(
    withPart("uring", failing("EPERM"), ON_EPOLL),
    "warning",
    "ring fails with EPERM",
  );
  expect({ ...WELL, ...ON_EPOLL }, "warning", "io_uring_setup failed");
});

Deno.test("a kernel that delivers all at once is told", () => {
  expect(withPart("system", { kernel: "6.12.9" }), "note", 'backend: "epoll"');
  assertEquals(findings(withPart("system", { kernel: "7.0.0" })), []);
});

Deno.test("limits that are low come with the command that raises them", () => {
  expect(
    withPart("limits", { descriptors: 1024 }),
    "warning",
    "1024 descriptors",
    "ulimit -n 1048576",
    "systemctl edit SERVICE   # [Service] LimitNOFILE=1048576",
  );
  expect(
    withPart("limits", { locked: 65536 }),
    "warning",
    "65536 bytes may be locked",
    "ulimit -l unlimited",
    "systemctl edit SERVICE   # [Service] LimitMEMLOCK=infinity",
  );
  assertEquals(findings(withPart("limits", { locked: 1 << 20 })), []);
  assertEquals(
    only(
      withPart("limits", { locked: 1 << 20 }, {
        workers: 3,
        memory: { ...WELL.memory, pool: null },
      }),
    ).about,
    "memlock",
  );
  expect(
    withPart("limits", { somaxconn: 128 }),
    "warning",
    "Only 128",
    "sysctl -w net.core.somaxconn=4096",
    "echo net.core.somaxconn=4096 > /etc/sysctl.d/90-net.core.somaxconn.conf",
  );
  assertEquals(
    only(withPart("limits", { synBacklog: 128 })).about,
    "tcp_max_syn_backlog",
  );
  expect(
    withPart("limits", { ports: [50000, 50999] }),
    "warning",
    "have 1000 ports",
    'sysctl -w net.ipv4.ip_local_port_range="32768 60999"',
  );
  const unknown = {
    descriptors: null,
    locked: null,
    somaxconn: null,
    synBacklog: null,
    ports: null,
  };
  assertEquals(findings(withPart("limits", unknown)), []);
});

Deno.test("memory that is missing is told", () => {
  expect(
    withPart("memory", { transparent: "never" }),
    "warning",
    "pages of 4 KiB",
    "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
  );
  // What others have taken of the pool stays theirs.
  expect(
    withPart("memory", { pool: { pages: 100, free: 90 } }),
    "note",
    "2 workers may use 134",
    "sysctl -w vm.nr_hugepages=144",
  );
  expect(
    withPart("memory", { limit: 2 ** 27 }),
    "warning",
    "lower bufferBytes",
  );
});

Deno.test("processors that may not be used are told", () => {
  expect(withTopology({ quota: 0.5 }), "warning", "leave 0.5 of a CPU");
  expect(
    withTopology({ quota: 1.5 }),
    "note",
    "the time of 1.5 CPUs, of which 2 may be used",
  );
  assertEquals(findings(withTopology({ quota: 2 })), []);
  const [first, second] = WELL.topology!.cpus;
  expect(
    withTopology({ cpus: [first!, { ...second!, allowed: false }] }),
    "note",
    "may use 1 of 2 CPUs",
  );
  const [node] = WELL.topology!.nodes;
  expect(
    withTopology({ nodes: [{ ...node!, memory: 0 }] }),
    "warning",
    "No memory is to be had on node 0",
  );
  expect(
    withTopology({ source: "/sys" }),
    "note",
    "hwloc is not installed",
    "apt-get install -y --no-install-recommends libhwloc15",
  );
});

Deno.test("what a process is not capable of is told", () => {
  const none = { netBind: false, ipcLock: false, sysNice: false };
  const confined = { kind: "Docker", seccomp: true, capabilities: none };
  expect(
    withPart("container", confined),
    "note",
    "Ports below 1024 may not",
    "sysctl -w net.ipv4.ip_unprivileged_port_start=80",
    "echo net.ipv4.ip_unprivileged_port_start=80 > /etc/sysctl.d/90-net.ipv4.ip_unprivileged_port_start.conf",
    "docker run --cap-add NET_BIND_SERVICE …",
  );
  const low = { ...confined, firstPort: 0 };
  assertEquals(findings(withPart("container", low)), []);
  const [node] = WELL.topology!.nodes;
  const nodes = [node!, { ...node!, id: 1, cpus: [] }];
  const { topology } = withTopology({ nodes });
  expect(
    withPart("container", low, { topology }),
    "note",
    "mbind",
    "docker run --cap-add SYS_NICE …",
  );
  // Who may lock any memory has no use for the limit.
  const able = withPart("container", {
    capabilities: { ...none, netBind: true, ipcLock: true },
  });
  const limits = { ...WELL.limits, locked: 0 };
  assertEquals(findings({ ...able, limits }), []);
});

Deno.test("the worst comes first", () => {
  const facts = withPart("permissions", {
    ffi: "denied",
    net: "denied",
    read: "denied",
  }, { topology: null });
  assertEquals(findings(facts).map(({ level }) => level), [
    "error",
    "warning",
    "note",
  ]);
});

Deno.test("facts are read from the files of the system", () => {
  const files: Record<string, string> = {
    "/proc/sys/kernel/osrelease": "6.6.1-test\n",
    "/proc/self/limits":
      "Max open files            1024                 4096                 files     \n" +
      "Max locked memory         unlimited            unlimited            bytes     \n",
    "/proc/sys/net/core/somaxconn": "128\n",
    "/proc/sys/net/ipv4/ip_local_port_range": "1024\t65535\n",
    "/sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "10\n",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": "4\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "/run/.containerenv": "",
    "/proc/self/status":
      "Name:\tdeno\nCapEff:\t0000000000800400\nSeccomp:\t2\n",
  };
  const facts = gather((path) => files[path] ?? null);
  assertEquals(facts.system.kernel, "6.6.1-test");
  assertEquals(facts.limits, {
    descriptors: 1024,
    locked: "unlimited",
    somaxconn: 128,
    synBacklog: null,
    ports: [1024, 65535],
  });
  assertEquals(facts.memory, {
    transparent: "never",
    pool: { pages: 10, free: 4 },
    limit: "unlimited",
  });
  assertEquals(facts.container, {
    kind: "Podman",
    seccomp: true,
    capabilities: { netBind: true, ipcLock: false, sysNice: true },
    firstPort: null,
  });
  const nothing = gather(() => null);
  assertEquals(nothing.container, {
    kind: null,
    seccomp: null,
    capabilities: null,
    firstPort: null,
  });
  assertEquals(nothing.memory, { transparent: null, pool: null, limit: null });
  // What is not known is no reason to warn.
  assertEquals(
    findings({
      ...WELL,
      limits: nothing.limits,
      memory: nothing.memory,
      container: nothing.container,
    }),
    [],
  );
});

Deno.test("the picture shows packages, nodes, caches, cores and what may not be used", async () => {
  const [hybrid, restricted, memoryless, large] = await readMachines([
    xml("hybrid"),
    xml("restricted"),
    xml("memoryless"),
    { HWLOC_SYNTHETIC: "pack:2 numa:1 l3:2 core:32 pu:2" },
  ]);
  assertEquals(
    picture(hybrid!),
    `
┌ package 0 ─────────────────────────────────┐
│ node 0, 16 GiB                             │
│   L3 12 MiB    [0 1] [2 3] [4] [5] [6] [7] │
└────────────────────────────────────────────┘`.slice(1),
  );
  assertEquals(
    picture(restricted!),
    `
┌ package 0 ────────────────┐
│ node 0, 8 GiB             │
│   [× ×] [1 ×] [2 6] [× ×] │
└───────────────────────────┘
  × may not be used by this process`.slice(1),
  );
  assertEquals(
    picture(memoryless!),
    `
┌ package 0 ────┐
│ node 0, 8 GiB │
│   [0] [1]     │
└───────────────┘
┌ package 1 ────┐
│ node 1, 8 GiB │
│   [2] [3]     │
└───────────────┘
┌ package 2 ────────┐
│ node 2, no memory │
│   [4] [5]         │
└───────────────────┘
  distances    0   1   2
          0   10  20  32
          1   20  10  16
          2   32  16  10`.slice(1),
  );
  for (const line of picture(large!).split("\n")) {
    assert(line.length <= 80, line);
  }
});

Deno.test("sizes have a fitting unit", () => {
  assertEquals([0, 1023, 1024, 1536, 32 << 20, 2 ** 40, 2 ** 60].map(size), [
    "0 B",
    "1023 B",
    "1 KiB",
    "1.5 KiB",
    "32 MiB",
    "1 TiB",
    "1048576 TiB",
  ]);
});

Deno.test("the report says what is so and what to do", () => {
  const facts = withPart("limits", { descriptors: 1024 });
  const lines = printed(facts, findings(facts)).split("\n");
  assert(lines.includes("    ulimit -n 1048576"));
  assertEquals(lines.at(-1), "1 warning.");
  assert(lines.every((line) => line.length <= 80));
  assertEquals(printed(WELL, []).split("\n").at(-1), "All is well.");
  const blind = {
    ...WELL,
    shimError: "x",
    backend: null,
    topology: null,
    uring: { disabled: 1, features: [] },
  };
  const text = printed(blind, findings(blind));
  assertStringIncludes(text, "kernel.io_uring_disabled is 1");
  assertStringIncludes(text, "\n\n1 error.");
});

const CLI = new URL("../lib/cli.ts", import.meta.url).pathname;

async function cli(
  flags: string[],
  ...args: string[]
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", ...flags, CLI, ...args],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

Deno.test("doctor runs here, for people and as JSON", async () => {
  const { code, out, err } = await cli(["-A"], "doctor");
  assertEquals([code, err], [0, ""]);
  assertStringIncludes(out, "┌ package ");
  const json = await cli(["-A"], "doctor", "--json");
  assertEquals([json.code, json.err], [0, ""]);
  const { facts, findings: found }: { facts: Facts; findings: Finding[] } = JSON
    .parse(json.out);
  assertEquals(facts.uring.features.map(({ feature }) => feature), FEATURES);
  assertEquals(facts.system.deno, Deno.version.deno);
  assertEquals(found, findings(facts));
  // The probe and what a server takes agree.
  const isWhole = facts.uring.features.every(({ error }) => error === "");
  assertEquals(facts.backend!.name, isWhole ? "io_uring" : "epoll");
});

Deno.test("doctor without permissions says so and exits with 1", async () => {
  const { code, out, err } = await cli([], "doctor");
  assertEquals([code, err], [1, ""]);
  assertStringIncludes(out, "Without --allow-ffi the shim cannot be loaded");
});

Deno.test("a wrong command line exits with 2, and help with 0", async () => {
  const wrong = [[], ["docter"], ["toString"], ["doctor", "--jsn"]];
  for (const args of wrong) {
    const { code, out, err } = await cli([], ...args);
    assertEquals([code, out], [2, ""]);
    assert(err !== "");
  }
  for (const args of [["--help"], ["doctor", "--help"], ["doctor", "-h"]]) {
    const { code, out, err } = await cli([], ...args);
    assertEquals([code, err], [0, ""]);
    assertStringIncludes(out, "Usage: cli ");
  }
});
