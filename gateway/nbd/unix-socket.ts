/** Binding a server to a Unix socket path that only its owner may open, and that a dead process may have left behind. */
import { chmodSync, lstatSync, renameSync, rmSync } from "node:fs";
import { connect, type Server } from "node:net";
import { dirname, join } from "node:path";
import { makeFolders } from "#adapters/embedded/make-folders.ts";
import { InvalidInput } from "#core/errors.ts";
import { socketPathBytesMax } from "./limits.ts";

/**
 * Binds beside the path, closes the permissions, and renames: nobody can connect before the mode is 0600, and a stale socket is
 * replaced in one step. The folder is made when it is missing. Throws `InvalidInput` when somebody listens there already, when
 * something else has that name, or when the folder can't be written.
 */
export async function bindUnixSocket(server: Server, path: string): Promise<void> {
  const temporary = join(dirname(path), `.${process.pid.toString(36)}${counter().toString(36)}`);
  if (Math.max(Buffer.byteLength(path), Buffer.byteLength(temporary)) > socketPathBytesMax) {
    throw new InvalidInput(`a socket's path may have ${socketPathBytesMax} bytes, this one is longer: ${path}`, {
      path,
    });
  }
  const refused = (cause: unknown) =>
    new InvalidInput(
      `can't listen on ${path}: ${cause instanceof Error ? cause.message : String(cause)}`,
      { path },
      { cause },
    );
  try {
    makeFolders(dirname(path), 0o700);
  } catch (cause) {
    throw refused(cause);
  }
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there !== undefined && !there.isSocket()) {
    throw new InvalidInput(`${path} exists and is no socket; move it away or choose another path`, { path });
  }
  if (there !== undefined && (await isListening(path))) {
    throw new InvalidInput(`another process listens on ${path}; stop it or choose another path`, { path });
  }
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => reject(refused(cause)));
    server.listen(temporary, () => {
      try {
        chmodSync(temporary, 0o600);
        renameSync(temporary, path);
        resolve();
      } catch (error) {
        server.close();
        reject(error);
      }
    });
  });
}

/** Removes a socket that was bound here; a missing one is fine. */
export function removeSocket(path: string): void {
  rmSync(path, { force: true });
}

let last = 0;

/** Tells apart the temporary names of one process. */
function counter(): number {
  last++;
  return last;
}

function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
}
