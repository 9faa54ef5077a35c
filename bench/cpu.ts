import { readFileSync } from "node:fs";

/** Clock ticks a second in /proc: a constant of Linux's interface to programs, whatever the kernel's own is. */
const ticksPerSecond = 100;

/** User and system time of a process so far, all threads, in seconds. NaN where there is no /proc. */
export function cpuSecondsOf(pid: number): number {
  // proc(5): utime and stime are fields 14 and 15.
  return seconds(String(pid), 14, 15);
}

/** The same of this process's children that have ended and been waited for, and of theirs. */
export function cpuSecondsOfChildren(): number {
  return seconds("self", 16, 17);
}

function seconds(pid: string, ...fields: readonly number[]): number {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return Number.NaN;
  }
  // Field 2 is a name in parentheses that may hold blanks; counting starts behind it.
  const behindName = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields.reduce((sum, field) => sum + Number(behindName[field - 3]), 0) / ticksPerSecond;
}
