import { execFile } from "node:child_process";

/** A peer that hangs is ended after this long, and its test fails. */
const peerMsMax = 240_000;
const outputBytesMax = 16 * 1024 * 1024;

/**
 * Runs a program to its end; resolves with what it printed, rejects with all of it when it doesn't exit with 0.
 * It runs in `folder` when one is given: fio leaves files where it runs.
 */
export function runPeer(
  program: string,
  args: readonly string[],
  folder?: string,
): Promise<{ stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const options = { timeout: peerMsMax, maxBuffer: outputBytesMax, ...(folder === undefined ? {} : { cwd: folder }) };
    execFile(program, args, options, (error, stdout, stderr) => {
      if (error === null) {
        resolve({ stdout, stderr });
      } else {
        reject(new Error(`${program} ${args.join(" ")}\n${stdout}\n${stderr}`, { cause: error }));
      }
    });
  });
}
