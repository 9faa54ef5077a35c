import { setFlagsFromString } from "node:v8";

/**
 * V8 takes the block buffers for growth of a heap of some 20 MB and begins a full collection for every three or four segments or bodies:
 * a tenth of the CPU of a first copy, both ends together. With this it waits until the heap is three times what lives, as it does by
 * itself when a program allocates fast (its own bound is four). A V8 that doesn't know the flag says so on stderr and goes on.
 */
export function fewerCollections(): void {
  setFlagsFromString("--heap-growing-percent=200");
}

/**
 * Block buffers of some MiB come and go all the time. glibc raises its mmap threshold when one is freed (mallopt(3),
 * M_MMAP_THRESHOLD), keeps the next ones in its arenas and seldom gives them back: the gateway then held 780 MB where it holds
 * 480 MB with the threshold fixed, measured with a full buffer of 256 MiB. At 1 MiB the batches are above it, while the
 * compressor's frames and contexts stay below: at 256 KiB each call mapped and unmapped them, and zstd cost 1.6 to 2.2 times the CPU.
 * The variable is read at a process's start, so this process replaces itself once, under the same id; other C libraries don't know
 * the variable and lose nothing.
 */
const variable = "MALLOC_MMAP_THRESHOLD_";

export function steadyMemory(): void {
  if (process.platform !== "linux" || process.env[variable] !== undefined || process.execve === undefined) return;
  const args = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  process.execve(process.execPath, args, { ...process.env, [variable]: String(1024 * 1024), NODE_NO_WARNINGS: "1" });
}
