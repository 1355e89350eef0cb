// SPDX-License-Identifier: Apache-2.0
// setup.ts - installs the system packages that are missing and builds the C shim; run by the tasks of deno.json.

/**
 * Set-up: installs the system packages that are missing and builds the C shim.
 *
 * `deno task setup [test | bench]`: without a word, what a server needs; with
 * one, what the tests or the benchmarks need on top. Where nothing is to be
 * done it finds so from the presence and the times of files, within a few
 * milliseconds, and starts neither apt nor make.
 *
 * @module
 */

/** Something the machine must have. */
interface Need {
  /** The Debian package. */
  pkg: string;
  /** What to look for where packages have other names. */
  what: string;
  /** Looks for files, not for packages, so that any distribution will do. */
  present: () => boolean;
  /** Set-up goes on without it. */
  optional?: boolean;
}

const ROOT = new URL("..", import.meta.url).pathname;
const SHIM = `${ROOT}c/build/libmillrace.so`;
const MIN_DENO = [2, 9] as const;
const PURPOSES = ["run", "test", "bench"];
const LIBRARY_DIRS = [
  `/usr/lib/${Deno.build.arch}-linux-gnu`,
  "/usr/lib64",
  "/usr/lib",
  "/usr/local/lib",
];
const HEADER_DIRS = ["/usr/include", "/usr/local/include"];

const COMPILER: Need[] = [
  { pkg: "gcc", what: "the C compiler gcc", present: () => isCommand("gcc") },
  { pkg: "make", what: "GNU make", present: () => isCommand("make") },
  {
    pkg: "libc6-dev",
    what: "the headers of the C library",
    present: () => isIn(HEADER_DIRS, "stdio.h"),
  },
  {
    pkg: "liburing-dev",
    what: "liburing with its headers",
    present: () => isIn(HEADER_DIRS, "liburing.h"),
  },
  {
    pkg: "zlib1g-dev",
    what: "zlib as a static library, with its headers",
    present: () => isIn(HEADER_DIRS, "zlib.h") && isIn(LIBRARY_DIRS, "libz.a"),
  },
];

// Servers run without these, with less.
const RUN: Need[] = [
  {
    pkg: "libhwloc15",
    what: "the library of hwloc 2",
    present: () => isIn(LIBRARY_DIRS, "libhwloc.so.15"),
  },
];

const TEST: Need[] = [
  { pkg: "clang", what: "clang", present: () => isCommand("clang") },
  {
    // Asked for late: apt knows the version once its lists are there.
    get pkg(): string {
      return `libclang-rt-${clangVersion()}-dev`;
    },
    what: "libFuzzer and the sanitizers of clang (compiler-rt)",
    present: hasClangRuntime,
  },
  {
    pkg: "clang-format",
    what: "clang-format",
    present: () => isCommand("clang-format"),
  },
  {
    pkg: "spin",
    what: "the model checker Spin",
    present: () => isCommand("spin"),
  },
  { pkg: "python3", what: "Python 3", present: () => isCommand("python3") },
  {
    pkg: "chromium",
    what: "Chromium as /usr/bin/chromium",
    present: () => exists("/usr/bin/chromium"),
  },
];

function exists(path: string): boolean {
  return modified(path) !== undefined;
}

/** When the file was last changed, or undefined if there is none. */
function modified(path: string): number | undefined {
  try {
    return Deno.statSync(path).mtime?.getTime() ?? 0;
  } catch {
    return undefined;
  }
}

function isIn(dirs: readonly string[], name: string): boolean {
  return dirs.some((dir) => exists(`${dir}/${name}`));
}

function isCommand(name: string): boolean {
  return isIn((Deno.env.get("PATH") ?? "").split(":"), name);
}

/** What a command prints, or nothing where it fails or does not exist. */
function output(command: string, ...args: string[]): string {
  try {
    const out = new Deno.Command(command, { args, stderr: "null" });
    return new TextDecoder().decode(out.outputSync().stdout).trim();
  } catch {
    return "";
  }
}

function hasClangRuntime(): boolean {
  const dir = output("clang", "-print-runtime-dir");
  return isIn([dir], `libclang_rt.fuzzer-${Deno.build.arch}.a`) ||
    isIn([dir], "libclang_rt.fuzzer.a");
}

/** The runtime must be of the version that the package `clang` stands for. */
function clangVersion(): string {
  const depends = output("apt-cache", "depends", "clang");
  return /Depends: clang-(\d+)/.exec(depends)?.[1] ?? "14";
}

// On the error output, as the tasks that follow write results to the other one.
function say(text: string): void {
  console.error(`set-up: ${text}`);
}

function stop(text: string): never {
  console.error(`set-up: ${text}`);
  Deno.exit(1);
}

function checkDeno(): void {
  const [major = 0, minor = 0] = Deno.version.deno.split(".").map(Number);
  if (major > MIN_DENO[0]) return;
  if (major === MIN_DENO[0] && minor >= MIN_DENO[1]) return;
  stop(
    `Millrace needs Deno ${MIN_DENO.join(".")} or newer, and this is ` +
      `${Deno.version.deno}. Run \`deno upgrade\`, or put \`npx -y deno@latest\` ` +
      "in place of `deno`.",
  );
}

function checkPlatform(): void {
  if (Deno.build.os === "linux") return;
  stop(
    "Millrace runs on Linux on x86_64 and aarch64, as it stands on io_uring " +
      `and epoll; this is ${Deno.build.os} on ${Deno.build.arch}.`,
  );
}

/** Whether the shim is newer than all that it is built from. */
function isFresh(): boolean {
  const built = modified(SHIM);
  if (built === undefined) return false;
  for (const { name } of Deno.readDirSync(`${ROOT}c`)) {
    if (!/\.[ch]$|^Makefile$|\.map$/.test(name)) continue;
    if ((modified(`${ROOT}c/${name}`) ?? 0) > built) return false;
  }
  return true;
}

function needsOf(purpose: string): Need[] {
  const needs: Need[] = [];
  if (purpose === "test" || !isFresh()) needs.push(...COMPILER);
  // The tests compare what it tells with /sys, so that they cannot do without.
  const optional = purpose !== "test";
  needs.push(...RUN.map((need) => ({ ...need, optional })));
  if (purpose === "test") needs.push(...TEST);
  if (purpose === "bench") needs.push(...COMPILER);
  return needs;
}

/** What goes before a command to run it as root; undefined if nothing does. */
function asRoot(): string[] | undefined {
  if (Deno.uid() === 0) return [];
  if (!isCommand("sudo")) return undefined;
  if (Deno.stdin.isTerminal()) return ["sudo"]; // It may ask for a password.
  const probe = new Deno.Command("sudo", { args: ["-n", "true"] });
  return probe.outputSync().success ? ["sudo", "-n"] : undefined;
}

function explain(missing: readonly Need[], why: string): string {
  const pkgs = missing.map((need) => need.pkg).join(" ");
  const whats = missing.map((need) => need.what).join(", ");
  return `${why}\n` +
    `  On Debian and its kin, as root:\n` +
    `    apt-get update\n` +
    `    apt-get install -y --no-install-recommends ${pkgs}\n` +
    `  Elsewhere, the packages of: ${whats}.\n` +
    "  Then run the same command again.";
}

/** Installs, or tells what to install and stops. */
async function install(missing: readonly Need[]): Promise<void> {
  const names = missing.map((need) => need.pkg).join(", ");
  const must = missing.some((need) => !need.optional);
  const root = isCommand("apt-get") ? asRoot() : undefined;
  if (root === undefined) {
    const why = isCommand("apt-get")
      ? `Missing: ${names}. This is not root, and sudo is not at hand.`
      : `Missing: ${names}. There is no apt-get to install with.`;
    if (must) stop(explain(missing, why));
    return say(explain(missing, `${why} Going on without.`));
  }
  say(`Installing with apt: ${names} …`);
  const done = await apt(root, ["update"]) &&
    await apt(root, ["install", ...missing.map((need) => need.pkg)]);
  if (done) return;
  if (must) stop(explain(missing, "apt-get failed; its words are above."));
  say("apt-get failed; going on without, as the server can.");
}

/** Runs apt-get and shows one short line for each package that it handles. */
async function apt(root: string[], args: string[]): Promise<boolean> {
  const [program = "", ...rest] = [
    ...root,
    "env",
    "DEBIAN_FRONTEND=noninteractive",
    "LC_ALL=C",
    "apt-get",
    "-qy",
    "--no-install-recommends",
    // Another apt may be at work on a machine that has just been started.
    "-oDPkg::Lock::Timeout=300",
    ...args,
  ];
  const child = new Deno.Command(program, { args: rest, stdout: "piped" });
  const process = child.spawn();
  const lines: string[] = [];
  const show = progress();
  await eachLine(process.stdout, (line) => {
    lines.push(line);
    show(line);
  });
  if ((await process.status).success) return true;
  console.error(lines.slice(-20).join("\n"));
  return false;
}

/** Turns the lines of apt-get into short ones that say how far it is. */
function progress(): (line: string) => void {
  let total = "?";
  let fetched = 0;
  let installed = 0;
  return (line) => {
    total = /(\d+) newly installed/.exec(line)?.[1] ?? total;
    const [, archive] = /^Get:\d+ \S+ \S+ \S+ ([a-z]\S+) /.exec(line) ?? [];
    if (archive) say(`Fetching ${archive} (${++fetched} of ${total}) …`);
    const [, name] = /^Setting up ([^ :]+)/.exec(line) ?? [];
    if (name) say(`Installing ${name} (${++installed} of ${total}) …`);
  };
}

async function eachLine(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  take: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    lines.forEach(take);
  }
  if (rest !== "") take(rest);
}

/** Builds the shim if it is older than its sources. */
function build(): void {
  if (isFresh()) return say("The shim is up to date.");
  say("Building the shim …");
  const start = performance.now();
  const make = new Deno.Command("make", {
    args: [
      "--no-print-directory",
      "-C",
      "c",
      `-j${navigator.hardwareConcurrency}`,
    ],
    cwd: ROOT,
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  });
  if (!make.outputSync().success) {
    stop("The shim did not build; make's words are above.");
  }
  // Make may have found nothing to do, as a changed file was not the shim's.
  const now = new Date();
  Deno.utimeSync(SHIM, now, now);
  const seconds = (performance.now() - start) / 1000;
  say(`Built the shim in ${seconds.toFixed(1)} s.`);
}

async function setup(purpose: string): Promise<void> {
  if (!PURPOSES.includes(purpose)) {
    stop(`"${purpose}" is none of ${PURPOSES.join(", ")}.`);
  }
  checkPlatform();
  checkDeno();
  const missing = needsOf(purpose).filter((need) => !need.present());
  if (missing.length > 0) await install(missing);
  build();
}

if (import.meta.main) await setup(Deno.args[0] ?? "run");
