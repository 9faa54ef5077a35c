import { FarshoreError, Transient } from "#core/errors.ts";

/** The code of a system error (`ENOENT`), or undefined. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

const advice: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full: free space or move the data directory",
  EDQUOT: "the disk quota is used up",
  EROFS: "the file system is read-only",
  EACCES: "the process may not write there",
  EMFILE: "too many files are open",
  EIO: "the disk reports an error",
};

/** A sector that can't be read, a checksum of the file system that doesn't hold. */
const mediumCodes: ReadonlySet<string> = new Set(["EIO", "EBADMSG", "EUCLEAN"]);

/** A system error as the ports speak: `Transient` with the code, and what a person could do about it; where the disk is at fault `medium` and the object's key. */
export function fileTrouble(error: unknown, what: string, key?: string): FarshoreError {
  if (error instanceof FarshoreError) return error;
  const code = errorCode(error) ?? "UNKNOWN";
  const message = error instanceof Error ? error.message : String(error);
  const details = mediumCodes.has(code) ? { code, medium: true, ...(key === undefined ? {} : { key }) } : { code };
  return new Transient(`${what}: ${advice[code] ?? message}.`, details, { cause: error });
}
