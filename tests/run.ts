/**
 * Runs the tests and ends with one line, `N passed, N failed`.
 *
 * `deno run -A tests/run.ts`            everything
 * `deno run -A tests/run.ts c`          the C tests alone
 * `deno run -A tests/run.ts fuzz 3600`  each fuzz target for that many seconds
 *
 * What is counted: each C test, each fuzz target, each test of `deno test`, and
 * one for each check of types. A command that fails without a failed test to
 * show for it (a crash, a compiler error) counts as one failure.
 */

interface Sum {
  passed: number;
  failed: number;
}

interface Step {
  name: string;
  command: string[];
  /** Finds the sum in what the command printed. */
  count: (output: string, success: boolean) => Sum;
}

const ROOT = new URL("..", import.meta.url).pathname;
const DENO = Deno.execPath();
const SUM = /^(\d+) passed, (\d+) failed$/gm;
const DENO_SUM =
  /^(?:ok|FAILED) \| (\d+) passed(?: \(.*?\))? \| (\d+) failed/gm;
const FUZZ_DONE = /^Done \d+ runs in /gm;
/** A hung test must not hang CI; the slowest step takes a fraction of this. */
const STEP_SECONDS = 1500;
const SMOKE_SECONDS = 4;

/** Each compiler in a directory of its own, so that neither undoes the other's work. */
function make(compiler: string, ...args: string[]): string[] {
  const build = [`CC=${compiler}`, `BUILD=build/${compiler}`];
  return ["make", "--no-print-directory", "-C", "c", "-j2", ...build, ...args];
}

function cTests(compiler: string): Step {
  return {
    name: `C tests, built by ${compiler}`,
    command: limited(...make(compiler, "all", "test")),
    count: countC,
  };
}

/** ThreadSanitizer of gcc knows no fences. */
function threads(): Step {
  return {
    name: "C tests with threads, under ThreadSanitizer",
    command: limited(...make("clang", "tsan")),
    count: countC,
  };
}

/** Without a limit: the fuzz targets stop by themselves, maybe hours later. */
function fuzz(seconds: number): Step {
  return {
    name: `fuzz targets, ${seconds} s each`,
    command: make("clang", "fuzz", `FUZZ_SECONDS=${seconds}`),
    count: countFuzz,
  };
}

function check(name: string, ...args: string[]): Step {
  return {
    name,
    command: limited(DENO, "check", ...args),
    count: (_output, success) => ({ passed: Number(success), failed: 0 }),
  };
}

function denoTests(): Step {
  return {
    name: "TypeScript tests",
    command: limited(DENO, "test", "-A", "--trace-leaks", "tests/"),
    count: countDeno,
  };
}

/** `timeout` ends the whole group of processes, servers and compilers too. */
function limited(...command: string[]): string[] {
  return ["timeout", "-k", "5", String(STEP_SECONDS), ...command];
}

/** Each C test program prints its own sum. */
function countC(output: string): Sum {
  const sum = { passed: 0, failed: 0 };
  for (const line of output.matchAll(SUM)) {
    sum.passed += Number(line[1]);
    sum.failed += Number(line[2]);
  }
  return sum;
}

/** libFuzzer prints this line for a target that went through unharmed. */
function countFuzz(output: string): Sum {
  return { passed: output.match(FUZZ_DONE)?.length ?? 0, failed: 0 };
}

/** The tests may print such a line themselves, so the last one counts. */
function countDeno(output: string): Sum {
  const last = [...output.matchAll(DENO_SUM)].at(-1);
  return { passed: Number(last?.[1] ?? 0), failed: Number(last?.[2] ?? 0) };
}

/** Runs a step, shows what it prints, and returns its sum. */
async function run(step: Step): Promise<Sum> {
  console.log(`\n== ${step.name}`);
  const start = performance.now();
  const { output, success } = await spawn(step.command);
  const sum = step.count(output, success);
  // A crash or a compiler error, or a step that found no test at all.
  const silent = !success || sum.passed === 0;
  if (silent && sum.failed === 0) sum.failed = 1;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `-- ${step.name}: ${sum.failed === 0 ? "ok" : "FAILED"} (${seconds} s)`,
  );
  return sum;
}

async function spawn(
  [program = "", ...args]: string[],
): Promise<{ output: string; success: boolean }> {
  const child = new Deno.Command(program, {
    args,
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const [out, err, status] = await Promise.all([
    tee(child.stdout, Deno.stdout),
    tee(child.stderr, Deno.stderr),
    child.status,
  ]);
  return { output: `${out}\n${err}`, success: status.success };
}

/** Passes the bytes on as they come and returns the whole as text. */
async function tee(
  from: ReadableStream<Uint8Array<ArrayBuffer>>,
  to: { writeSync(bytes: Uint8Array): number },
): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of from) {
    for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
    text += decoder.decode(bytes, { stream: true });
  }
  return text;
}

function stepsOf(
  what: string | undefined,
  seconds: string | undefined,
): Step[] {
  const c = [cTests("gcc"), cTests("clang"), threads()];
  if (what === "c") return c;
  if (what === "fuzz") return [fuzz(Number(seconds ?? SMOKE_SECONDS))];
  return [
    ...c,
    fuzz(SMOKE_SECONDS),
    check("types of all files"),
    check(
      "types of the examples in the documentation",
      "--doc-only",
      ".",
      "README.md",
    ),
    denoTests(),
  ];
}

async function main(): Promise<void> {
  const total = { passed: 0, failed: 0 };
  for (const step of stepsOf(Deno.args[0], Deno.args[1])) {
    const sum = await run(step);
    total.passed += sum.passed;
    total.failed += sum.failed;
  }
  console.log(`\n${total.passed} passed, ${total.failed} failed`);
  Deno.exit(total.failed === 0 ? 0 : 1);
}

await main();
